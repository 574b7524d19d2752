"""One gateway, one agent and one Airflow for all tests here, and the user that the example DAGs name."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CLIENT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLIENT / "tests"))

from airflow import __version__ as airflow_version  # noqa: E402
from gateway import GatewayForTests  # noqa: E402
from real_airflow import RealAirflow  # noqa: E402

MAJOR = int(airflow_version.split(".")[0])
EXAMPLES = CLIENT / "example_dags"
#: How long anything may take on a machine that is busy with other things, in seconds.
PATIENCE = 240


@pytest.fixture(scope="session")
def gateway() -> Iterator[GatewayForTests]:
    with GatewayForTests() as running:
        yield running


@pytest.fixture(scope="session")
def etl() -> Iterator[None]:
    """The user and the script that the DAGs name."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the DAGs run a job as testuser")
    try:
        pwd.getpwnam("testuser")
        made = False
    except KeyError:
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", "testuser"], check=True)
        made = True
    script = Path(pwd.getpwnam("testuser").pw_dir) / "run_etl.sh"
    assert made or not script.exists(), f"{script} is not the tests' own"
    script.write_text("id -un; sleep 3; echo etl done\n")
    script.chmod(0o755)
    yield
    script.unlink()
    if made:
        subprocess.run(["userdel", "--remove", "testuser"], check=True)


@pytest.fixture(scope="session")
def airflow(gateway: GatewayForTests, etl: None) -> Iterator[RealAirflow]:
    folders = [EXAMPLES / "schedule", Path(__file__).parent / "dags", *([EXAMPLES / "airflow2"] if MAJOR == 2 else [])]
    with RealAirflow(MAJOR, folders, {"AIRFLOW_CONN_AGENT_DEFAULT": gateway.connection()}) as running:
        yield running


@pytest.fixture(autouse=True)
def evidence(request: pytest.FixtureRequest, airflow: RealAirflow) -> Iterator[None]:
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(airflow.evidence())
