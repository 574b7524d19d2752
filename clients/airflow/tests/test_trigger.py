from __future__ import annotations

import asyncio
import importlib
import json
import time
from contextlib import aclosing
from pathlib import Path

import pytest
from client_under_test import find
from gateway import HOST, GatewayForTests

from agent_operators import AgentJobTrigger

TRIGGERS = [
    {"job_id": "job_1", "agent_conn_id": "agent_default"},
    {
        "job_id": "job_2",
        "agent_conn_id": "other",
        "deadline": 1_800_000_000.5,
        "deadline_reason": "its time was over",
        "cancel_on_kill": True,
        "printed": {"stdout": 7, "stderr": 0},
    },
]


@pytest.mark.parametrize("arguments", TRIGGERS)
def test_a_trigger_is_rebuilt_from_its_serialised_form(arguments):
    path, kwargs = AgentJobTrigger(**arguments).serialize()
    assert path == "agent_operators.AgentJobTrigger"
    # Airflow keeps it as JSON, and finds the class by its path.
    kept = json.loads(json.dumps(kwargs))
    module, name = path.rsplit(".", 1)
    rebuilt = getattr(importlib.import_module(module), name)(**kept)
    assert rebuilt.serialize() == (path, kwargs)
    assert {**kwargs, **arguments} == kwargs


def test_a_trigger_carries_no_key(gateway):
    assert gateway.key not in repr(AgentJobTrigger(**TRIGGERS[1]).serialize())


def submit(gateway, command):
    return gateway.call("POST", "/v1/jobs", {"target_server": HOST, "command": command})["id"]


async def fire(trigger):
    async with aclosing(trigger.run()) as events:
        async for event in events:
            return event.payload
    raise AssertionError("a trigger that ends without an event fails its task")


def test_it_fires_once_the_job_is_over(gateway):
    job_id = submit(gateway, "sleep 1.5")
    event = asyncio.run(fire(AgentJobTrigger(job_id, "agent_default")))
    assert event == {
        "status": "over",
        "state": "succeeded",
        "job_id": job_id,
        "printed": {"stdout": 0, "stderr": 0},
    }
    assert json.loads(json.dumps(event)) == event


def test_it_fires_at_once_for_a_job_that_is_over_already(gateway):
    job_id = submit(gateway, "false")
    gateway.over(job_id)
    assert asyncio.run(fire(AgentJobTrigger(job_id, "agent_default")))["state"] == "failed"


def test_it_fires_a_timeout_at_its_deadline_and_leaves_the_job(gateway):
    job_id = submit(gateway, "sleep 50")
    trigger = AgentJobTrigger(job_id, "agent_default", deadline=time.time() + 1, deadline_reason="enough")
    event = asyncio.run(fire(trigger))
    assert (event["status"], event["reason"]) == ("timeout", "enough")
    assert gateway.over(job_id, 0)["outcome"] is None


def test_it_says_that_the_gateway_knows_no_such_job(gateway):
    event = asyncio.run(fire(AgentJobTrigger("job_00000000000000000000000000", "agent_default")))
    assert event["status"] == "unknown"


def test_many_triggers_wait_with_one_held_request(gateway):
    job_ids = [submit(gateway, "sleep 8") for _ in range(20)]
    # Loops of earlier tests left theirs, which may end meanwhile.
    before = connections(gateway)
    held = []

    async def all_of_them():
        waits = [asyncio.ensure_future(fire(AgentJobTrigger(job_id, "agent_default"))) for job_id in job_ids]
        for _ in range(15):
            await asyncio.sleep(0.2)
            held.append(len(connections(gateway) - before))
        return await asyncio.gather(*waits)

    events = asyncio.run(all_of_them())
    assert [event["job_id"] for event in events] == job_ids
    # Newcomers are taken up with a new request; it settles at one.
    assert min(count for count in held if count) == 1, held


def connections(gateway):
    """Those that stand to the gateway's port, by their own ends."""
    port = f"{gateway.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[2].endswith(f":{port}") and row[3] == "01"}


def test_a_job_that_joins_later_is_waited_for_by_the_same_request(gateway):
    async def one_after_the_other():
        # Its request is held for as long as it runs.
        job_id = submit(gateway, "sleep 50")
        long = asyncio.ensure_future(fire(AgentJobTrigger(job_id, "agent_default")))
        await asyncio.sleep(1)
        assert (await fire(AgentJobTrigger(submit(gateway, "sleep 1"), "agent_default")))["state"] == "succeeded"
        assert not long.done()
        gateway.call("POST", f"/v1/jobs/{job_id}:cancel", {"grace_seconds": 0})
        return await long

    assert asyncio.run(one_after_the_other())["state"] == "canceled"


class Told(AgentJobTrigger):
    """Keeps what would be a line of the task's log: where that goes differs between the versions."""

    def _say(self, line):
        self.lines = [*getattr(self, "lines", []), line]


def test_the_output_goes_into_the_log_while_it_waits_and_the_event_says_how_far(gateway):
    trigger = Told(submit(gateway, "echo early; sleep 8; echo late"), "agent_default")
    event = asyncio.run(fire(trigger))
    said = trigger.lines
    assert "[stdout] from byte 0:" in said
    assert "[stdout] early" in said
    assert event["printed"]["stdout"] in (len("early\n"), len("early\nlate\n"))


def test_a_trigger_that_starts_later_names_the_byte_it_starts_at(gateway):
    job_id = submit(gateway, "echo early; sleep 8; echo late")
    trigger = Told(job_id, "agent_default", printed={"stdout": 2, "stderr": 0})
    asyncio.run(fire(trigger))
    said = trigger.lines
    assert "[stdout] from byte 2:" in said
    assert "[stdout] rly" in said


def test_a_gateway_that_is_killed_and_started_again_is_waited_for(monkeypatch):
    with GatewayForTests() as own:
        monkeypatch.setenv("AIRFLOW_CONN_AGENT_RESTARTED", own.connection())
        job_id = submit(own, "sleep 3")

        async def through_a_restart():
            wait = asyncio.ensure_future(fire(AgentJobTrigger(job_id, "agent_restarted")))
            await asyncio.sleep(1)
            await asyncio.to_thread(own.stop)
            await asyncio.sleep(1)
            assert not wait.done()
            await asyncio.to_thread(own.start)
            return await wait

        assert asyncio.run(through_a_restart())["state"] == "succeeded"


def test_a_waiter_that_ends_fails_its_futures(gateway):
    async def ended():
        found = await find("find_gateway")("agent_default")
        job_id = submit(gateway, "sleep 2")
        future = found.waiter.watch(job_id)
        await asyncio.sleep(0.2)
        found.waiter._task.cancel()
        with pytest.raises(find("GatewayUnavailable")):
            await asyncio.wait_for(future, 5)

    asyncio.run(ended())
