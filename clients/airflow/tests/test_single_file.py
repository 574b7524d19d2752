from __future__ import annotations

import subprocess
import sys

from conftest import CLIENT, SINGLE_FILE

import agent_operators

NAMES = {
    "AgentAsyncOperator",
    "AgentBatchTrigger",
    "AgentCancelOperator",
    "AgentFanoutOperator",
    "AgentHook",
    "AgentJobLink",
    "AgentJobTrigger",
    "AgentStatusSensor",
    "AgentSyncOperator",
    "AgentTmuxOperator",
    "AgentTmuxUnifiedOperator",
}


def test_the_single_file_is_what_the_package_makes_it():
    script = CLIENT / "script" / "build_single_file.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_both_forms_export_the_same_names():
    assert set(agent_operators.__all__) == NAMES
    own = "agent_operators" if SINGLE_FILE else "airflow_provider_sluice."
    assert agent_operators.AgentJobTrigger.__module__.startswith(own)


def test_the_file_gives_way_to_the_package_where_that_is_installed():
    code = "import agent_operators; print(agent_operators.AgentSyncOperator.__module__, agent_operators.__file__)"
    path = f"{CLIENT / 'plugins'}:{CLIENT / 'src'}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={"PYTHONPATH": path, **{name: value for name, value in __import__("os").environ.items()}},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1].split() == [
        "airflow_provider_sluice.operators",
        str(CLIENT / "plugins" / "agent_operators.py"),
    ]
