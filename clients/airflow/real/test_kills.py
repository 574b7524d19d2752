"""What becomes of a job when its task is ended from outside: on the host, in a real Airflow."""

from __future__ import annotations

import httpx
from conftest import MAJOR, PATIENCE
from gateway import until

MARK_FAILED_ON_2 = """
import sys
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
with create_session() as session:
    ti = session.query(TaskInstance).filter_by(dag_id=sys.argv[1], run_id=sys.argv[2], task_id="wait").one()
    ti.set_state("failed", session=session)
"""


def start(airflow, gateway, dag_id, run_id, state):
    """:returns: the job that the task waits for, once it runs and the task is in that state"""
    airflow.trigger(dag_id, run_id)
    until(lambda: airflow.states(dag_id, run_id) == {"wait": state}, PATIENCE, f"{dag_id} {state}")
    jobs = until(lambda: gateway.jobs(airflow_dag=dag_id, airflow_run=run_id), PATIENCE, "a job")
    until(lambda: gateway.over(jobs[0]["id"], 1)["state"] == "running", PATIENCE, "the job running")
    if state == "deferred":
        until(lambda: trigger_started(airflow, dag_id, run_id), PATIENCE, "the trigger started")
    return jobs[0]["id"]


def trigger_started(airflow, dag_id, run_id):
    """2.11 says so in the triggerer's log, 3 in the task's."""
    said = (airflow.home / "triggerer.log").read_text() + airflow.log(dag_id, run_id, "wait")
    return f"trigger {dag_id}/{run_id}/wait" in said


def mark_failed(airflow, dag_id, run_id):
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


def gone(gateway, job_id):
    """The job ended as canceled, and the agent has proven it."""
    job = until(lambda: (job := gateway.over(job_id, 5))["outcome"] and job, PATIENCE, "the job over")
    assert job["state"] == "canceled", job
    assert job["outcome"]["proof"] != "none"


def test_a_deferred_task_that_is_marked_failed_takes_its_job_with_it(airflow, gateway):
    job_id = start(airflow, gateway, "deferred", "marked", "deferred")
    mark_failed(airflow, "deferred", "marked")
    gone(gateway, job_id)
    assert airflow.finished("deferred", "marked", PATIENCE) == "failed"


def test_a_deferred_task_that_is_cleared_starts_anew_once_its_old_job_is_over(airflow, gateway):
    job_id = start(airflow, gateway, "to_be_cleared", "cleared", "deferred")
    airflow.run("airflow", "tasks", "clear", "--yes", "to_be_cleared", "--task-regex", "wait")
    gone(gateway, job_id)
    assert airflow.finished("to_be_cleared", "cleared", PATIENCE) == "success"
    jobs = gateway.jobs(airflow_dag="to_be_cleared", airflow_run="cleared")
    assert [job["state"] for job in jobs] == ["succeeded", "canceled"]
    assert jobs[0]["started_at"] >= jobs[1]["ended_at"]
    assert airflow.xcom("to_be_cleared", "cleared", "wait")["stdout"] == "try 2\n"


def test_a_task_that_is_ended_while_no_triggerer_is_up_takes_its_job_with_it_later(airflow, gateway):
    killed = start(airflow, gateway, "deferred", "unheard", "deferred")
    airflow.stop("triggerer", 9)
    mark_failed(airflow, "deferred", "unheard")
    airflow.start("triggerer")
    waiting = start(airflow, gateway, "deferred", "waiting", "deferred")
    gone(gateway, killed)
    assert gateway.over(waiting, 1)["state"] == "running"
    mark_failed(airflow, "deferred", "waiting")
    gone(gateway, waiting)


def test_a_task_that_is_marked_failed_in_its_worker_takes_its_job_with_it(airflow, gateway):
    job_id = start(airflow, gateway, "in_worker", "marked", "running")
    mark_failed(airflow, "in_worker", "marked")
    gone(gateway, job_id)
    assert airflow.finished("in_worker", "marked", PATIENCE) == "failed"


def test_the_execution_timeout_holds_while_a_task_is_deferred(airflow, gateway):
    job_id = start(airflow, gateway, "limited", "limited", "deferred")
    gone(gateway, job_id)
    assert airflow.finished("limited", "limited", PATIENCE) == "failed"


def test_a_triggerer_that_is_killed_is_followed_by_another_and_the_job_ran_once(airflow, gateway):
    dag_id = "agent_async"
    airflow.trigger(dag_id, "killed")
    until(lambda: airflow.states(dag_id, "killed") == {"async_short_job": "deferred"}, PATIENCE, "deferred")
    airflow.stop("triggerer", 9)
    airflow.start("triggerer")
    assert airflow.finished(dag_id, "killed", PATIENCE) == "success"
    assert len(gateway.jobs(airflow_dag=dag_id, airflow_run="killed")) == 1
