"""
The plugin is replaced under an Airflow with runs under way, in the order that the README says: the operators that
called agents by the client, and then the client by a newer one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import MAJOR, PATIENCE
from databases import database
from gateway import GatewayForTests, until
from real_airflow import CLIENT, SINGLE_FILE, RealAirflow

HERE = Path(__file__).parent
REPOSITORY = CLIENT.parents[1]


@dataclass
class OldAgent:
    """An agent of the first generation, as it is installed on hosts, with its own token."""

    address: str
    token: str
    fingerprint: str


@pytest.fixture(scope="module")
def old_agent() -> Iterator[OldAgent]:
    folder = tempfile.mkdtemp(prefix="sluice-airflow-agent-")
    node = REPOSITORY / "node_modules/node/bin/node"
    process = subprocess.Popen(
        [node, REPOSITORY / "test/chaos/base-agent.process.ts", folder, "A"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with closing(process.stdout):
        said = json.loads(process.stdout.readline())
    yield OldAgent(said["address"], said["token"], said["fingerprint"])
    process.terminate()
    process.wait(60)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def airflow(gateway: GatewayForTests, old_agent: OldAgent) -> Iterator[RealAirflow]:
    """With the old plugin, whose connection has the agent's token."""
    host = {"address": old_agent.address, "token": old_agent.token, "tls": {"fingerprint": old_agent.fingerprint}}
    gateway.call("PUT", f"/v1/hosts/{old_agent.address}", host)
    settings = {
        "AIRFLOW_CONN_AGENT_DEFAULT": gateway.connection(agent_token=old_agent.token),
        "SLUICE_TEST_OLD_AGENT": old_agent.address,
    }
    with database() as its_database:
        prepared = RealAirflow(MAJOR, its_database, [HERE / "migrating"], settings)
        shutil.copy(HERE / "old_plugin" / "agent_operators.py", prepared.home / "plugins")
        with prepared as running:
            yield running


def test_a_run_that_waits_for_a_job_of_the_agents_own_goes_on_with_the_gateways_client(airflow, gateway, old_agent):
    pipe(airflow)
    airflow.trigger("of_the_agent", "waiting")
    until(lambda: waits(airflow), PATIENCE, "both sensors waiting")

    def replace() -> None:
        install_client(airflow)
        airflow.env["AIRFLOW_CONN_AGENT_DEFAULT"] = gateway.connection()

    migrate(airflow, replace)
    until(lambda: len(gateway.jobs(airflow_dag="of_the_agent")) == 1, PATIENCE, "the gateway following the job")
    until(lambda: waits_in_triggerer(airflow, "wait_reschedule"), PATIENCE, "its sensor in the triggerer")
    let_end(airflow)
    assert airflow.finished("of_the_agent", "waiting", PATIENCE) == "success"
    agents_id = airflow.xcom("of_the_agent", "waiting", "longrun")["job_id"]
    jobs = gateway.jobs(airflow_dag="of_the_agent")
    assert [(job["agent_job_id"], job["started_by"], job["state"]) for job in jobs] == [
        (agents_id, "base", "succeeded")
    ]
    for task_id in ("wait_poke", "wait_reschedule"):
        result = airflow.xcom("of_the_agent", "waiting", task_id)
        assert (result["job_id"], result["return_code"], result["stdout"]) == (jobs[0]["id"], 0, "done\n")
    assert len(airflow.runs("of_the_agent")) == 1


def test_a_run_that_waits_in_the_triggerer_goes_on_with_a_newer_client(airflow, gateway):
    pipe(airflow)
    airflow.trigger("of_the_gateway", "waiting")
    until(lambda: waits_in_triggerer(airflow, "wait", "of_the_gateway"), PATIENCE, "deferred")
    until(lambda: airflow.runs("of_the_gateway"), PATIENCE, "the job running")
    migrate(airflow, lambda: install_newer_client(airflow))
    assert waits_in_triggerer(airflow, "wait", "of_the_gateway")
    let_end(airflow)
    assert airflow.finished("of_the_gateway", "waiting", PATIENCE) == "success"
    assert airflow.xcom("of_the_gateway", "waiting", "wait")["stdout"] == "once\n"
    assert airflow.xcom("of_the_gateway", "waiting", "then")["stdout"] == "then\n"
    assert len(airflow.runs("of_the_gateway")) == 1
    assert len(gateway.jobs(airflow_dag="of_the_gateway")) == 2


def migrate(airflow: RealAirflow, replace: Callable[[], None]) -> None:
    """Triggerers stopped, the file replaced, triggerers started, the rest restarted."""
    airflow.stop("triggerer")
    replace()
    airflow.start("triggerer")
    rest = [name for name in airflow.components() if name != "triggerer"]
    for name in reversed(rest):
        airflow.stop(name)
    airflow.start_all(rest)


def install_client(airflow: RealAirflow) -> None:
    """With the package installed all along, it is there as soon as no file hides it."""
    if SINGLE_FILE:
        shutil.copy(CLIENT / "plugins" / "agent_operators.py", airflow.home / "plugins")
    else:
        (airflow.home / "plugins" / "agent_operators.py").unlink()


def install_newer_client(airflow: RealAirflow) -> None:
    """The same, but another file: Airflow goes by the file, not by what it does."""
    file = airflow.home / "plugins" / "agent_operators.py"
    newer = (CLIENT / "plugins" / "agent_operators.py").read_text() + '\nRELEASE = "a newer one"\n'
    file.write_text(newer)


def pipe(airflow: RealAirflow) -> None:
    file = airflow.home / "runs" / "end"
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def let_end(airflow: RealAirflow) -> None:
    """The job, which reads from the pipe."""
    (airflow.home / "runs" / "end").write_text("")


def waits(airflow: RealAirflow) -> bool:
    """With the old plugin: one in a worker, one between two looks."""
    states = airflow.states("of_the_agent", "waiting")
    return states.get("wait_poke") == "running" and states.get("wait_reschedule") == "up_for_reschedule"


def waits_in_triggerer(airflow: RealAirflow, task_id: str, dag_id: str = "of_the_agent") -> bool:
    return airflow.states(dag_id, "waiting").get(task_id) == "deferred"
