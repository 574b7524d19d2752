"""What becomes of a job when its task is ended from outside: on the host, in a real Airflow."""

from __future__ import annotations

import httpx
import pytest
from conftest import MAJOR
from waits import begin

MARK_FAILED_ON_2 = """
import sys
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
with create_session() as session:
    ti = session.query(TaskInstance).filter_by(dag_id=sys.argv[1], run_id=sys.argv[2], task_id="wait").one()
    ti.set_state("failed", session=session)
"""


def mark_failed(wait):
    airflow, dag_id, run_id = wait.airflow, wait.dag_id, wait.run_id
    if MAJOR == 2:
        airflow.run("python", "-W", "ignore", "-c", MARK_FAILED_ON_2, dag_id, run_id)
        return
    token = httpx.get(f"{airflow.url}/auth/token").json()["access_token"]
    httpx.patch(
        f"{airflow.url}/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/wait",
        json={"new_state": "failed"},
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    ).raise_for_status()


@pytest.mark.parametrize(("dag_id", "state"), [("deferred", "deferred"), ("in_worker", "running")])
def test_a_task_that_is_marked_failed_takes_its_job_with_it(airflow, gateway, dag_id, state):
    wait = begin(airflow, gateway, dag_id, "marked", state)
    mark_failed(wait)
    wait.is_gone()
    assert wait.ends() == "failed"
    assert len(wait.jobs()) == 1


@pytest.mark.parametrize(("dag_id", "state"), [("cleared_deferred", "deferred"), ("cleared_in_worker", "running")])
def test_a_task_that_is_cleared_starts_anew_once_its_old_job_is_over(airflow, gateway, dag_id, state):
    wait = begin(airflow, gateway, dag_id, "cleared", state)
    airflow.clear(dag_id)
    wait.is_gone()
    assert wait.ends() == "success"
    jobs = wait.jobs()
    assert [job["state"] for job in jobs] == ["succeeded", "canceled"]
    assert jobs[0]["started_at"] >= jobs[1]["ended_at"]
    assert airflow.xcom(dag_id, "cleared", "wait")["stdout"] == "try 2\n"


def test_a_task_that_is_ended_unheard_while_no_triggerer_is_up_takes_its_job_with_it_later(airflow, gateway):
    killed = begin(airflow, gateway, "deferred", "unheard", "deferred")
    airflow.stop("triggerer", 9)
    mark_failed(killed)
    airflow.start("triggerer")
    waiting = begin(airflow, gateway, "deferred", "waiting", "deferred")
    killed.is_gone()
    assert waiting.job_state() == "running"
    mark_failed(waiting)
    waiting.is_gone()


def test_the_execution_timeout_holds_while_a_task_is_deferred(airflow, gateway):
    wait = begin(airflow, gateway, "limited", "limited", "deferred")
    wait.is_gone()
    assert wait.ends() == "failed"
