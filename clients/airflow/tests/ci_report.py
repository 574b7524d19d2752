"""
A pytest plugin for `.ci/run`: writes what passed, and what failed and why, to a file of this process in the directory
SLUICE_CI_REPORTS, as script/ci-reporter.ts does for vitest and script/ci-summary.ts reads it. Written anew after every
test, with the one that runs: a run may be killed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from airflow import __version__ as airflow_version

FORM = os.environ.get("SLUICE_CLIENT", "package")
MAX_LINES = 16


class CiReport:
    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = directory / f"{os.getpid()}.json"
        self._report: dict[str, Any] = {"passed": 0, "failures": [], "repeated": [], "running": []}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._report["running"] = [name_of(nodeid)]
        self._write()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._fail(report)
        elif report.passed and report.when == "call":
            self._report["passed"] += 1

    def pytest_runtest_logfinish(self) -> None:
        self._report["running"] = []
        self._write()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._fail(report)
            self._write()

    def _fail(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        when = {"setup": " (setup)", "teardown": " (teardown)"}.get(getattr(report, "when", ""), "")
        # pytest marks the lines that say what went wrong.
        lines = [line for line in report.longreprtext.splitlines() if line.startswith(("E ", ">"))]
        lines = (lines or report.longreprtext.splitlines()[-MAX_LINES:])[:MAX_LINES]
        self._report["failures"].append({"name": f"{name_of(report.nodeid)}{when}", "lines": lines})

    def _write(self) -> None:
        self._file.write_text(json.dumps(self._report))


def name_of(nodeid: str) -> str:
    return f"{nodeid.replace('::', ' > ')} (Airflow {airflow_version}, {FORM})"


def pytest_configure(config: pytest.Config) -> None:
    directory = os.environ.get("SLUICE_CI_REPORTS")
    if directory:
        config.pluginmanager.register(CiReport(Path(directory)))
