from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from contextlib import aclosing
from types import SimpleNamespace

import pytest
from client_under_test import find
from gateway import HOST, until

from agent_operators import AgentBatchTrigger

WaitingTrigger = find("WaitingTrigger")
OURS = sys.modules[WaitingTrigger.__module__]
TRIGGERS = [
    {"batch_id": "batch_1", "agent_conn_id": "agent_default"},
    {
        "batch_id": "batch_2",
        "agent_conn_id": "other",
        "deadline": 1_800_000_000.5,
        "deadline_reason": "its time was over",
        "cancel_on_kill": True,
    },
]


@pytest.mark.parametrize("arguments", TRIGGERS)
def test_a_trigger_is_rebuilt_from_its_serialised_form(arguments):
    path, kwargs = AgentBatchTrigger(**arguments).serialize()
    assert path == "agent_operators.AgentBatchTrigger"
    # Airflow keeps it as JSON, and finds the class by its path.
    kept = json.loads(json.dumps(kwargs))
    module, name = path.rsplit(".", 1)
    rebuilt = getattr(importlib.import_module(module), name)(**kept)
    assert rebuilt.serialize() == (path, kwargs)
    assert {**kwargs, **arguments} == kwargs


def submit(gateway, command):
    return gateway.call("POST", "/v1/batches", {"targets": [HOST], "command": command})["id"]


async def fire(trigger):
    async with aclosing(trigger.run()) as events:
        async for event in events:
            return event.payload
    raise AssertionError("a trigger that ends without an event fails its task")


def test_it_fires_id_state_and_counts_once_the_batch_is_over(gateway):
    batch_id = submit(gateway, "sleep 1.5")
    event = asyncio.run(fire(AgentBatchTrigger(batch_id, "agent_default")))
    counts = gateway.call("GET", f"/v1/batches/{batch_id}")["counts"]
    assert event == {
        "status": "over",
        "batch_id": batch_id,
        "state": "succeeded",
        "counts": counts,
        "failed_hosts": "",
    }
    assert json.loads(json.dumps(event)) == event


def test_it_names_the_hosts_that_failed(gateway):
    event = asyncio.run(fire(AgentBatchTrigger(submit(gateway, "exit 3"), "agent_default")))
    assert (event["state"], event["failed_hosts"]) == ("failed", HOST)


def test_it_fires_a_timeout_at_its_deadline_and_leaves_the_batch(gateway):
    batch_id = submit(gateway, "sleep 5")
    trigger = AgentBatchTrigger(batch_id, "agent_default", deadline=time.time() + 1, deadline_reason="enough")
    event = asyncio.run(fire(trigger))
    assert (event["status"], event["reason"]) == ("timeout", "enough")
    assert gateway.call("GET", f"/v1/batches/{batch_id}")["state"] == "running"


def test_it_says_that_the_gateway_knows_no_such_batch(gateway):
    event = asyncio.run(fire(AgentBatchTrigger("batch_00000000000000000000000000", "agent_default")))
    assert event["status"] == "unknown"


class Told(AgentBatchTrigger):
    def _say(self, line):
        self.lines = [*getattr(self, "lines", []), line]


def test_it_says_now_and_then_how_it_goes(gateway, monkeypatch):
    monkeypatch.setattr(OURS, "ASK_SECONDS", 1.0)
    trigger = Told(submit(gateway, "sleep 5"), "agent_default")
    asyncio.run(fire(trigger))
    # Asked every second; the next line would have come after half a minute.
    assert len(trigger.lines) == 1
    assert trigger.lines[0].startswith(f"Batch {trigger.batch_id}, running: 1 ")


@pytest.mark.parametrize(("still_deferred", "state"), [(False, "canceled"), (True, "succeeded")])
def test_the_batch_is_canceled_if_its_task_was_killed_and_not_if_the_trigger_was_moved(
    gateway, monkeypatch, still_deferred, state
):
    batch_id = submit(gateway, "sleep 5")

    async def what_airflow_says(ti, trigger_id):
        return still_deferred

    async def killed():
        trigger = AgentBatchTrigger(batch_id, "agent_default", cancel_on_kill=True)
        trigger.task_instance = SimpleNamespace(task_id="task")
        waiting = asyncio.ensure_future(fire(trigger))
        await asyncio.to_thread(until, lambda: counts(gateway, batch_id)["running"])
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        # Which of the two Airflow calls depends on its version.
        await trigger.on_kill()
        await trigger.cleanup()

    monkeypatch.setattr(OURS, "is_still_deferred", what_airflow_says)
    asyncio.run(killed())
    assert gateway.call("GET", f"/v1/batches/{batch_id}", params={"wait": 30})["state"] == state


def counts(gateway, batch_id):
    return gateway.call("GET", f"/v1/batches/{batch_id}")["counts"]


def test_many_batches_wait_at_once(gateway):
    batch_ids = [submit(gateway, "sleep 3") for _ in range(40)]

    async def all_of_them():
        return await asyncio.gather(*(fire(AgentBatchTrigger(batch_id, "agent_default")) for batch_id in batch_ids))

    events = asyncio.run(all_of_them())
    assert [(event["batch_id"], event["state"]) for event in events] == [(one, "succeeded") for one in batch_ids]
