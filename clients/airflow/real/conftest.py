"""One gateway, one agent and one Airflow for all tests here, and the user that the example DAGs name."""

from __future__ import annotations

import fcntl
import logging
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CLIENT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLIENT / "tests"))

from airflow import __version__ as airflow_version  # noqa: E402
from databases import database  # noqa: E402
from door import Door  # noqa: E402
from gateway import GatewayForTests  # noqa: E402
from real_airflow import RealAirflow  # noqa: E402

pytest_plugins = ["ci_report"]

MAJOR = int(airflow_version.split(".")[0])
EXAMPLES = CLIENT / "example_dags"
#: How long anything may take on a machine that is busy with other things, in seconds.
PATIENCE = 240
ETL = "id -un; sleep 3; echo etl done\n"
MADE_HERE = "made by the tests of the Airflow client"

# A line for every question to the gateway would bury the evidence.
logging.getLogger("httpx").setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def gateway() -> Iterator[GatewayForTests]:
    with GatewayForTests() as running:
        yield running


@pytest.fixture(scope="session")
def door(gateway: GatewayForTests) -> Iterator[Door]:
    with Door(gateway.url) as standing:
        yield standing


@pytest.fixture(scope="session")
def etl() -> Iterator[None]:
    """The user and the script that the DAGs name. Runs at the same time share them, and the last one removes them."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the DAGs run a job as testuser")
    with (Path(tempfile.gettempdir()) / "sluice-airflow-testuser.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        subprocess.run(
            ["useradd", "--create-home", "--shell", "/bin/bash", "--comment", MADE_HERE, "testuser"], check=False
        )
        user = pwd.getpwnam("testuser")
        script = Path(user.pw_dir) / "run_etl.sh"
        assert not script.exists() or script.read_text() == ETL, f"{script} is not the tests' own"
        script.write_text(ETL)
        script.chmod(0o755)
        yield
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        script.unlink()
        # Also one that a killed run has left behind.
        if user.pw_gecos == MADE_HERE:
            subprocess.run(["userdel", "--remove", "testuser"], check=True)


@pytest.fixture(scope="session")
def airflow(gateway: GatewayForTests, door: Door, etl: None) -> Iterator[RealAirflow]:
    folders = [EXAMPLES / "schedule", Path(__file__).parent / "dags", *([EXAMPLES / "airflow2"] if MAJOR == 2 else [])]
    connections = {
        "AIRFLOW_CONN_AGENT_DEFAULT": gateway.connection(),
        "AIRFLOW_CONN_AGENT_BEHIND_DOOR": gateway.connection(gateway_url=door.url),
    }
    with database() as its_database, RealAirflow(MAJOR, its_database, folders, connections) as running:
        yield running


@pytest.fixture(autouse=True)
def evidence(request: pytest.FixtureRequest, airflow: RealAirflow) -> Iterator[None]:
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(airflow.evidence())
