"""Which jobs the reconciler cancels; what Airflow says of its tasks is given here, and asked for real in real/."""

from __future__ import annotations

import asyncio
import sys
import uuid

import pytest
from client_under_test import find
from gateway import HOST, until

Reconciler = find("Reconciler")
OURS = sys.modules[Reconciler.__module__]
#: Between two looks, in seconds.
ROUND = 0.2


@pytest.fixture
def tasks(monkeypatch):
    """The states that Airflow gives, by task; a test changes them."""
    states = {}

    async def run_states(dag_id, run_id, task_ids):
        if "error" in states:
            raise ConnectionError(states["error"])
        assert dag_id == "a_dag"
        return {name: state for name, state in states.items() if name.split("_")[0] in {*task_ids, "mapped"}}

    monkeypatch.setattr(OURS, "run_states", run_states)
    monkeypatch.setattr(OURS, "ROUND_SECONDS", ROUND)
    return states


@pytest.fixture
def submit(gateway):
    run_id = f"run-{uuid.uuid4()}"

    def submit_one(task_id="task", *, map_index=-1, awaited="true", instance="tests"):
        labels = {"airflow_instance": instance, "airflow_dag": "a_dag", "airflow_run": run_id}
        labels |= {"airflow_task": task_id, "airflow_map_index": str(map_index), "airflow_awaited": awaited}
        order = {"target_server": HOST, "command": "sleep 60", "labels": labels}
        return gateway.call("POST", "/v1/jobs", order)["id"]

    yield submit_one
    gateway.cancel_all()


def look(times, between=lambda _: None):
    """So many rounds of one reconciler, far enough apart."""

    async def rounds():
        client = find("AsyncGatewayClient")(find("AgentHook")().address)
        reconciler = Reconciler(client)
        for number in range(times):
            await reconciler.round()
            between(number)
            await asyncio.sleep(ROUND)
        await client.close()

    asyncio.run(rounds())


def canceled(gateway, job_id):
    return gateway.call("GET", f"/v1/jobs/{job_id}")["cancel_requested_at"] is not None


def test_a_job_whose_task_is_over_is_canceled_when_it_is_seen_for_the_second_time(gateway, tasks, submit):
    over = {state: submit(state) for state in ("success", "failed", "skipped", "upstream", "removed")}
    tasks |= {state: state for state in over} | {"upstream": "upstream_failed"}
    look(1)
    assert not any(canceled(gateway, job_id) for job_id in over.values())
    look(2)
    assert [gateway.over(job_id)["state"] for job_id in over.values()] == ["canceled"] * 5


def test_a_task_that_may_still_come_to_something_keeps_its_job(gateway, tasks, submit):
    names = ("deferred", "running", "scheduled", "queued", "restarting", "none", "unknown")
    kept = {name: submit(name) for name in names}
    tasks |= {name: name for name in names if name != "unknown"} | {"none": None}
    look(3)
    assert not any(canceled(gateway, job_id) for job_id in kept.values())


def test_jobs_that_nobody_waits_for_and_those_of_another_airflow_are_left_alone(gateway, tasks, submit):
    kept = [submit(awaited="false"), submit(instance="another")]
    tasks["task"] = "failed"
    look(3)
    assert not any(canceled(gateway, job_id) for job_id in kept)


def test_a_task_that_was_cleared_meanwhile_keeps_its_job(gateway, tasks, submit):
    job_id = submit()
    tasks["task"] = "failed"

    def clear(number):
        tasks["task"] = "queued" if number == 0 else "failed"

    look(3, clear)
    assert not canceled(gateway, job_id)


def test_of_a_mapped_task_only_the_instance_that_is_over_loses_its_job(gateway, tasks, submit):
    over, waiting = submit("mapped", map_index=3), submit("mapped", map_index=4)
    tasks |= {"mapped_3": "failed", "mapped_4": "deferred"}
    look(2)
    assert canceled(gateway, over)
    assert not canceled(gateway, waiting)


def test_a_batch_is_canceled_as_one_when_its_task_is_over(gateway, tasks, submit):
    labels = gateway.call("GET", f"/v1/jobs/{submit()}")["labels"] | {"airflow_awaited": "batch"}
    order = {"targets": [HOST], "command": "sleep 60", "labels": labels}
    over, waiting = (
        gateway.call("POST", "/v1/batches", {**order, "labels": labels | {"airflow_task": task_id}})["id"]
        for task_id in ("over", "waiting")
    )
    tasks |= {"over": "failed", "waiting": "deferred"}
    until(lambda: gateway.call("GET", f"/v1/batches/{over}")["counts"]["running"])
    look(1)
    assert gateway.call("GET", f"/v1/batches/{over}")["state"] == "running"
    look(2)
    assert gateway.call("GET", f"/v1/batches/{over}", params={"wait": 30})["state"] == "canceled"
    assert gateway.call("GET", f"/v1/batches/{waiting}")["state"] == "running"
    gateway.call("POST", f"/v1/batches/{waiting}:cancel")


def test_a_name_that_may_be_a_mapped_tasks_or_another_tasks_cancels_nothing(gateway, tasks, submit):
    kept = submit("mapped", map_index=3)
    submit("mapped_3")
    tasks["mapped_3"] = "failed"
    look(2)
    assert not canceled(gateway, kept)


def test_it_looks_while_somebody_waits_and_an_airflow_that_is_away_cancels_nothing(gateway, tasks, submit):
    job_id = submit()
    tasks |= {"task": "failed", "error": "Airflow is away"}

    async def while_somebody_waits():
        client = find("AsyncGatewayClient")(find("AgentHook")().address)
        reconciler = Reconciler(client)
        for number in range(100):
            reconciler.keep_going()
            await asyncio.sleep(ROUND / 2)
            if number == 10:
                assert not await asyncio.to_thread(canceled, gateway, job_id)
                del tasks["error"]
            if number > 10 and await asyncio.to_thread(canceled, gateway, job_id):
                break
        # With nobody who waits it ends by itself.
        await asyncio.wait_for(reconciler._task, 20 * ROUND)
        await client.close()

    asyncio.run(while_somebody_waits())
    assert gateway.over(job_id)["state"] == "canceled"
