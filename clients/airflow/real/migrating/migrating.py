"""Runs that are under way while the plugin is replaced: of the old one's jobs, and of the new one's."""

import os
from datetime import datetime

from airflow import DAG

from agent_operators import AgentAsyncOperator, AgentStatusSensor, AgentTmuxOperator

OLD_AGENT = os.environ["SLUICE_TEST_OLD_AGENT"]
RUNS = os.environ["SLUICE_TEST_RUNS"]
HOST = "192.168.120.139:18443"
SETTINGS = {"start_date": datetime(2025, 1, 1), "schedule": None, "catchup": False}

with DAG(dag_id="of_the_agent", **SETTINGS):
    start = AgentTmuxOperator(
        task_id="longrun",
        target_server=OLD_AGENT,
        command=f"sh -c 'echo $$ >> {RUNS}/of_the_agent; cat {RUNS}/end; echo done'",
    )
    for mode in ("poke", "reschedule"):
        start >> AgentStatusSensor(
            task_id=f"wait_{mode}",
            target_server=OLD_AGENT,
            job_id="{{ ti.xcom_pull('longrun')['job_id'] }}",
            mode=mode,
            poke_interval=5,
            timeout=48 * 3600,
        )

with DAG(dag_id="of_the_gateway", **SETTINGS):
    first = AgentAsyncOperator(
        task_id="wait",
        target_server=HOST,
        command=f"echo $$ >> {RUNS}/of_the_gateway; cat {RUNS}/end; echo once",
        timeout_seconds=600,
    )
    # Defers in the triggerer that was started with the new file.
    first >> AgentAsyncOperator(task_id="then", target_server=HOST, command="sleep 2; echo then", timeout_seconds=600)
