"""What the tests that end something have in common: a task that waits for its job, and how it and its job end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psutil
from conftest import PATIENCE
from gateway import GatewayForTests, until
from real_airflow import RealAirflow


@dataclass
class Wait:
    """The task ``wait`` of one run, and the job that it waits for."""

    airflow: RealAirflow
    gateway: GatewayForTests
    dag_id: str
    run_id: str
    job_id: str
    #: The job's own processes, as they were when it ran.
    processes: list[psutil.Process]

    @property
    def state(self) -> str | None:
        return self.airflow.states(self.dag_id, self.run_id)["wait"]

    def jobs(self) -> list[dict[str, Any]]:
        """Of this run, newest first."""
        return self.gateway.jobs(airflow_dag=self.dag_id, airflow_run=self.run_id)

    def job_state(self) -> str:
        state: str = self.gateway.over(self.job_id, 1)["state"]
        return state

    def is_gone(self) -> None:
        """The job ended as canceled, with the agent's proof, and none of its processes is on the host."""
        job = until(lambda: (job := self.gateway.over(self.job_id, 5))["outcome"] and job, PATIENCE, "the job over")
        assert job["state"] == "canceled", job
        assert job["outcome"]["proof"] != "none"
        assert [process for process in self.processes if lives(process)] == []

    def ends(self) -> str:
        """:returns: the run's last state"""
        return self.airflow.finished(self.dag_id, self.run_id, PATIENCE)

    def ran_once_and_ends_right(self) -> None:
        assert self.ends() == "success", self.airflow.states(self.dag_id, self.run_id)
        ran_once(self.airflow, self.gateway, self.dag_id, self.run_id)
        assert self.airflow.xcom(self.dag_id, self.run_id, "wait")["job_id"] == self.job_id


def begin(airflow: RealAirflow, gateway: GatewayForTests, dag_id: str, run_id: str, state: str, **conf: Any) -> Wait:
    """Once the job runs and the task is in that state."""
    airflow.trigger(dag_id, run_id, **conf)
    until(lambda: airflow.states(dag_id, run_id).get("wait") == state, PATIENCE, f"{dag_id} {state}")
    jobs = until(lambda: gateway.jobs(airflow_dag=dag_id, airflow_run=run_id), PATIENCE, "a job")
    pids = until(lambda: airflow.runs(f"{dag_id}.{run_id}"), PATIENCE, "the job running")
    until(lambda: gateway.over(jobs[0]["id"], 1)["state"] == "running", PATIENCE, "the job running")
    if state == "deferred":
        until(lambda: trigger_started(airflow, dag_id, run_id), PATIENCE, "the trigger started")
    shell = psutil.Process(pids[-1])
    processes = [shell, *until(shell.children, PATIENCE, "the job's sleep")]
    return Wait(airflow, gateway, dag_id, run_id, jobs[0]["id"], processes)


def ran_once(airflow: RealAirflow, gateway: GatewayForTests, dag_id: str, run_id: str) -> None:
    """Whatever the gateway and Airflow say: the command itself has counted."""
    assert len(airflow.runs(f"{dag_id}.{run_id}")) == 1
    jobs = gateway.jobs(airflow_dag=dag_id, airflow_run=run_id)
    assert [job["state"] for job in jobs] == ["succeeded"]
    result = airflow.xcom(dag_id, run_id, "wait")
    assert (result["return_code"], result["stdout"]) == (0, "once\n")


def lives(process: psutil.Process) -> bool:
    """A zombie has ended; that nobody has asked how is not its fault."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def trigger_started(airflow: RealAirflow, dag_id: str, run_id: str) -> bool:
    """2.11 says so in the triggerer's log, 3 in the task's."""
    said = [path.read_text() for path in airflow.home.glob("triggerer*.log")]
    return any(f"trigger {dag_id}/{run_id}/wait" in text for text in [*said, airflow.log(dag_id, run_id, "wait")])
