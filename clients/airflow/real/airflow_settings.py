"""The environment of an Airflow in these tests: everything on loopback and in its own home, and quick."""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: Where the programs of the Airflow under test are.
BIN = Path(sys.executable).parent


def airflow_settings(major: int, home: Path, database_url: str, port: int) -> dict[str, str]:
    """:param major: 2 or 3 :param port: of the API server"""
    url = f"http://127.0.0.1:{port}"
    settings = {
        "AIRFLOW_HOME": str(home),
        # 2.11's SequentialExecutor runs `airflow` by its name.
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url,
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        # How soon the tasks of a scheduler that died are taken up again: every 5 minutes, by default.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Where jobs write down that they ran.
        "SLUICE_TEST_RUNS": str(home / "runs"),
        "no_proxy": "127.0.0.1,localhost",
    }
    if major == 2:
        return {**settings, "AIRFLOW__CORE__EXECUTOR": "SequentialExecutor"}
    return {
        **settings,
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        # HMAC with SHA-512 wants 64 bytes.
        "AIRFLOW__API_AUTH__JWT_SECRET": "for tests only, " * 4,
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        # A machine that is busy with other things answers late, and Airflow then ends the task.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
    }
