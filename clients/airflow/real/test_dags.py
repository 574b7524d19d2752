"""The example DAGs in a real Airflow, against a real gateway and a real agent: states, XComs and logs."""

from __future__ import annotations

import pytest
from conftest import MAJOR, PATIENCE
from gateway import HOST, until

needs_airflow_2 = pytest.mark.skipif(MAJOR != 2, reason="Airflow 3 knows no schedule_interval")
TMUX_DAGS = ["agent_tmux"] if MAJOR == 3 else ["agent_tmux", "agent_tmux_test"]


#: What Airflow 3 answers a task's process that reports its success when it has taken it for failed already: a known
#: fault of 3.3, whose scheduler can see the end of the process that deferred a task only when the next one is at work.
OVERTAKEN = "TI was not in the running state so it cannot be updated"


def run(airflow, dag_id):
    """:returns: the id of a run that has ended; of another one where Airflow had failed what was succeeding"""
    for run_id in (f"run_of_{dag_id}", f"other_run_of_{dag_id}"):
        airflow.trigger(dag_id, run_id)
        if airflow.finished(dag_id, run_id, PATIENCE) == "success":
            return run_id
        if OVERTAKEN not in airflow.logs(dag_id, run_id):
            break
    raise AssertionError(airflow.states(dag_id, run_id))


def jobs_of(gateway, dag_id, run_id):
    """Those of one run, where the DAG has started none but for the runs that were triggered here."""
    jobs = gateway.jobs(airflow_dag=dag_id)
    assert {job["labels"]["airflow_run"] for job in jobs} <= {f"run_of_{dag_id}", run_id}
    return [job for job in jobs if job["labels"]["airflow_run"] == run_id]


@pytest.mark.parametrize("dag_id", ["agent_sync", pytest.param("agent_sync_test", marks=needs_airflow_2)])
def test_the_sync_dag_returns_its_output(airflow, gateway, dag_id):
    run_id = run(airflow, dag_id)
    assert airflow.states(dag_id, run_id) == {"sync_ls_root": "success"}
    result = airflow.xcom(dag_id, run_id, "sync_ls_root")
    assert (result["status"], result["return_code"], result["stderr"]) == ("finished", 0, "")
    assert result["stdout"].startswith("total ")
    assert f"[stdout] {result['stdout'].splitlines()[0]}" in airflow.log(dag_id, run_id, "sync_ls_root")
    jobs = jobs_of(gateway, dag_id, run_id)
    assert [job["id"] for job in jobs] == [result["job_id"]]
    assert (jobs[0]["job_user"], jobs[0]["mode"]) == (None, "sync")


@pytest.mark.parametrize("dag_id", ["agent_async", pytest.param("agent_async_test", marks=needs_airflow_2)])
def test_the_async_dag_waits_in_the_triggerer(airflow, gateway, dag_id):
    run_id = f"run_of_{dag_id}"
    airflow.trigger(dag_id, run_id)
    until(lambda: airflow.states(dag_id, run_id) == {"async_short_job": "deferred"}, PATIENCE, "deferred")
    assert airflow.finished(dag_id, run_id, PATIENCE) == "success"
    result = airflow.xcom(dag_id, run_id, "async_short_job")
    assert (result["status"], result["return_code"], result["stdout"]) == ("finished", 0, "done async\n")
    log = airflow.log(dag_id, run_id, "async_short_job")
    assert log.count("[stdout] done async") == 1
    assert f"Submitted job {result['job_id']}" in log
    assert len(gateway.jobs(airflow_dag=dag_id)) == 1


@pytest.mark.parametrize("dag_id", TMUX_DAGS)
def test_the_sensor_waits_for_what_the_tmux_task_submitted(airflow, gateway, dag_id):
    # Its schedule starts a run of its own.
    rows = until(lambda: airflow.rows("select run_id from dag_run where dag_id = ?", dag_id), PATIENCE, dag_id)
    run_id = rows[0][0]
    assert airflow.finished(dag_id, run_id, PATIENCE) == "success"
    assert airflow.states(dag_id, run_id) == {"tmux_longrun": "success", "wait_for_tmux_longrun": "success"}
    submitted = airflow.xcom(dag_id, run_id, "tmux_longrun")
    assert submitted == {"job_id": submitted["job_id"], "status": "submitted"}
    job = gateway.over(submitted["job_id"])
    assert (job["job_user"], job["mode"], job["timeout_seconds"]) == ("testuser", "tmux", None)
    result = airflow.xcom(dag_id, run_id, "wait_for_tmux_longrun")
    assert (result["job_id"], result["stdout"]) == (submitted["job_id"], "testuser\netl done\n")


def test_the_fan_out_gathers_what_every_mapped_task_returned(airflow, gateway):
    run_id = run(airflow, "agent_fan_out")
    assert airflow.states("agent_fan_out", run_id) == {
        **{f"shard.{number}": "success" for number in range(5)},
        "gather": "success",
    }
    assert airflow.xcom("agent_fan_out", run_id, "gather") == [f"shard {number}" for number in range(5)]
    for number in range(5):
        assert f"[stdout] shard {number}" in airflow.log("agent_fan_out", run_id, "shard", number)
    assert len(jobs_of(gateway, "agent_fan_out", run_id)) == 5


def test_the_batch_waits_in_the_triggerer_and_returns_its_counts(airflow, gateway):
    run_id = run(airflow, "agent_fleet")
    assert airflow.states("agent_fleet", run_id) == {"sweep": "success"}
    result = airflow.xcom("agent_fleet", run_id, "sweep")
    assert (result["state"], result["total"], result["counts"]["succeeded"]) == ("succeeded", 1, 1)
    log = airflow.log("agent_fleet", run_id, "sweep")
    assert f"Submitted batch {result['batch_id']} for 1 hosts" in log
    assert f"== {HOST} (1): succeeded" in log
    assert "[stdout] swept" in log
    assert airflow.xcom("agent_fleet", run_id, "sweep", "agent_batch_id") == result["batch_id"]
    batch = gateway.call("GET", f"/v1/batches/{result['batch_id']}")
    assert (batch["max_failures"], batch["labels"]["airflow_awaited"]) == (0, "batch")
    assert len(jobs_of(gateway, "agent_fleet", run_id)) == 1


def test_no_job_was_started_for_another_host(gateway):
    assert {job["target_server"] for job in gateway.jobs()} == {HOST}
