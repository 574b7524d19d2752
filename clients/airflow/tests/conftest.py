"""
The same tests for the package and for the single file: ``SLUICE_CLIENT=file`` puts ``plugins/`` on the path instead of
``src/``. Airflow is given a home of its own before anything imports it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CLIENT = Path(__file__).resolve().parents[1]
SINGLE_FILE = os.environ.get("SLUICE_CLIENT") == "file"
sys.path.insert(0, str(CLIENT / ("plugins" if SINGLE_FILE else "src")))

HOME = tempfile.mkdtemp(prefix="sluice-airflow-home-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ.update(
    AIRFLOW_HOME=HOME,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{HOME}/airflow.db",
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
)
os.environ.pop("SLUICE_URL", None)

from gateway import GatewayForTests  # noqa: E402

pytest_plugins = ["ci_report"]


@pytest.fixture(scope="session")
def gateway() -> Iterator[GatewayForTests]:
    with GatewayForTests() as running:
        os.environ["AIRFLOW_CONN_AGENT_DEFAULT"] = running.connection(instance="tests")
        yield running
