"""
Parts of Airflow are killed or stopped while a task waits: the job runs on, and has run once, by the count that its own
command keeps; and the task ends as if nothing had been.
"""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime, timezone

import pytest
from conftest import PATIENCE
from gateway import until
from waits import begin, ran_once

#: How long a triggerer stands still: Airflow takes it for dead after 30 s and gives its tasks to another.
STOPPED_SECONDS = 60
#: The same, with a heartbeat's time on top.
DEAD_SECONDS = 40
#: A job that is still running some time after that.
LONG = 100


def test_a_triggerer_that_stands_still_for_a_minute_comes_back_to_a_job_that_runs_on(airflow, gateway):
    wait = begin(airflow, gateway, "once_deferred", "stopped", "deferred", seconds=LONG)
    first = triggerer_of(wait)
    airflow.start("triggerer.2")
    try:
        until(lambda: len(live_triggerers(airflow)) == 2, PATIENCE, "the second triggerer")
        airflow.signal("triggerer", signal.SIGSTOP)
        end = time.monotonic() + STOPPED_SECONDS
        try:
            until(lambda: triggerer_of(wait) not in (first, None), STOPPED_SECONDS, "the task at the second triggerer")
            until(lambda: time.monotonic() > end, STOPPED_SECONDS, "the minute over")
        finally:
            airflow.signal("triggerer", signal.SIGCONT)
        assert wait.job_state() == "running"
        # The first one learns that the task is no longer its own, which Airflow tells it as if it were ended.
        heard = airflow.heartbeat(first)
        until(lambda: airflow.heartbeat(first) > heard, PATIENCE, "the first triggerer going on")
        wait.ran_once_and_ends_right()
    finally:
        airflow.stop("triggerer.2")


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_worker_that_is_killed_while_it_submits_has_its_job_run_once(airflow, gateway, door, where):
    dag_id, run_id = "behind_door", f"killed_{where}"
    door.stop_next_submit(where)
    airflow.trigger(dag_id, run_id, seconds=5)
    until(lambda: door.stopped, PATIENCE, "the task submitting")
    assert len(gateway.jobs(airflow_dag=dag_id, airflow_run=run_id)) == (1 if where == "after" else 0)
    os.kill(door.stopped[0], signal.SIGKILL)
    door.let_go()
    assert airflow.finished(dag_id, run_id, PATIENCE) == "success"
    ran_once(airflow, gateway, dag_id, run_id)
    assert airflow.tries(dag_id, run_id, "wait") == 2


def test_a_triggerer_that_is_killed_is_followed_by_another(airflow, gateway):
    wait = begin(airflow, gateway, "once_deferred", "triggerer_killed", "deferred", seconds=20)
    airflow.stop("triggerer", signal.SIGKILL)
    assert wait.job_state() == "running"
    airflow.start("triggerer")
    wait.ran_once_and_ends_right()


def test_a_task_that_finds_no_triggerer_waits_in_its_worker_until_there_is_one(airflow, gateway):
    airflow.stop("triggerer", signal.SIGKILL)
    try:
        until(lambda: seconds_since_any_triggerer(airflow) > DEAD_SECONDS, PATIENCE, "the triggerer taken for dead")
        wait = begin(airflow, gateway, "once_deferred", "no_triggerer", "running", seconds=LONG)
        said = "No triggerer is alive: this task waits in its worker until there is one"
        until(lambda: said in airflow.log("once_deferred", "no_triggerer", "wait"), PATIENCE, "the task saying so")
    finally:
        airflow.start("triggerer")
    until(lambda: wait.state == "deferred", PATIENCE, "deferred")
    assert wait.job_state() == "running"
    wait.ran_once_and_ends_right()


@pytest.mark.parametrize(("dag_id", "state"), [("once_deferred", "deferred"), ("once_in_worker", "running")])
def test_a_scheduler_that_is_killed_with_all_its_workers_is_followed_by_another(airflow, gateway, dag_id, state):
    wait = begin(airflow, gateway, dag_id, "scheduler_killed", state, seconds=20)
    airflow.stop("scheduler", signal.SIGKILL)
    # The job ends while nobody is there to resume the task.
    assert gateway.over(wait.job_id, 60)["state"] == "succeeded"
    airflow.start("scheduler")
    wait.ran_once_and_ends_right()


def triggerer_of(wait):
    """:returns: the id of the triggerer that has the task"""
    query = (
        "select t.triggerer_id from trigger t join task_instance ti on ti.trigger_id = t.id "
        "where ti.dag_id = ? and ti.run_id = ?"
    )
    rows = wait.airflow.rows(query, wait.dag_id, wait.run_id)
    return rows[0][0] if rows else None


def live_triggerers(airflow):
    return airflow.rows("select id from job where job_type = 'TriggererJob' and state = 'running'")


def seconds_since_any_triggerer(airflow):
    newest = max(row[0] for row in airflow.rows("select latest_heartbeat from job where job_type = 'TriggererJob'"))
    return (datetime.now(timezone.utc) - newest).total_seconds()
