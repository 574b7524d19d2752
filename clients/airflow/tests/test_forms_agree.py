"""The single file and the package, each in a process of its own, do the same things and must come to the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from conftest import CLIENT, SINGLE_FILE

pytestmark = pytest.mark.skipif(SINGLE_FILE, reason="both forms are asked where the package is tested")

ASK = """
import inspect, json, sys
import agent_operators
from client_under_test import Run, find
from gateway import HOST

said = {}
for name in agent_operators.__all__:
    known = getattr(agent_operators, name)
    fields = list(getattr(known, "template_fields", ()))
    said[name] = [str(inspect.signature(known.__init__)), fields, inspect.getdoc(known)]

def outcome(operator, call="execute", *arguments):
    context = Run().context(operator.task_id)
    try:
        return getattr(operator, call)(context, *arguments)
    except BaseException as ended:
        trigger = getattr(ended, "trigger", None)
        return [type(ended).__name__, str(ended), trigger and [*trigger.serialize()]]

sync = {"task_id": "task", "target_server": HOST, "deferrable": False}
said["sync"] = outcome(agent_operators.AgentSyncOperator(command="echo out; echo err >&2", **sync))
said["failed"] = outcome(agent_operators.AgentSyncOperator(command="echo why >&2; exit 3", **sync))
said["skipped"] = outcome(agent_operators.AgentSyncOperator(command="exit 99", skip_on_exit_code=99, **sync))
said["refused"] = outcome(agent_operators.AgentSyncOperator(command="true", **{**sync, "target_server": "nobody:1"}))
wait = {"task_id": "task", "target_server": HOST}
said["async"] = outcome(agent_operators.AgentAsyncOperator(command="sleep 1", timeout_seconds=60, **wait))
said["tmux"] = outcome(agent_operators.AgentTmuxOperator(command="sleep 1", **wait))
said["unified"] = outcome(agent_operators.AgentTmuxUnifiedOperator(command="sleep 1", env={"A": "b"}, **wait))
said["sensor"] = outcome(agent_operators.AgentStatusSensor(job_id=said["tmux"]["job_id"], timeout=60, **wait))
said["cancel"] = outcome(agent_operators.AgentCancelOperator(job_id=said["sync"]["job_id"], **wait))
many = {"task_id": "task", "targets": [HOST]}
said["fan_out"] = outcome(agent_operators.AgentFanoutOperator(command="echo out", deferrable=False, **many))
said["fan_out_failed"] = outcome(agent_operators.AgentFanoutOperator(command="exit 3", deferrable=False, **many))
said["fan_out_waits"] = outcome(agent_operators.AgentFanoutOperator(command="sleep 1", **many))
rebuilt = agent_operators.AgentJobTrigger(**json.loads(sys.argv[1]))
said["rebuilt"] = rebuilt.serialize()
print(json.dumps(said, default=str))
"""
TRIGGER = {
    "job_id": "job_1",
    "agent_conn_id": "other",
    "deadline": 1e9,
    "cancel_on_kill": True,
    "printed": {"stdout": 7},
}


def ask(form):
    path = f"{CLIENT / form}:{CLIENT / 'tests'}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASK, json.dumps(TRIGGER)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # What differs between any two jobs: ids and times.
    same = re.sub(r"(job|batch)_[0-9A-HJKMNP-TV-Z]{26}", r"\1_ID", done.stdout.splitlines()[-1])
    same = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME", same)
    return json.loads(re.sub(r'("deadline": )\d+\.\d+', r"\1TIME", same).replace(": TIME", ': "TIME"'))


def test_they_give_the_same_results(gateway):
    package, file = ask("src"), ask("plugins")
    assert package["sync"]["stdout"] == "out\n"
    assert package["async"][0] == package["fan_out_waits"][0] == "TaskDeferred"
    assert package["fan_out"]["state"] == "succeeded"
    assert package["rebuilt"][0] == "agent_operators.AgentJobTrigger"
    assert file == package
