"""
Many tasks that wait for jobs which all end at once: when somebody writes to the pipe that they read. Sized by the
environment; without it, as in the tests of other things, there is nothing here.
"""

import os
from datetime import datetime

from airflow import DAG

from agent_operators import AgentAsyncOperator, AgentStatusSensor, AgentSyncOperator

HOST = "192.168.120.139:18443"
PIPE = f"{os.environ['SLUICE_TEST_RUNS']}/end"
WORKERS = int(os.environ["AIRFLOW__CORE__PARALLELISM"])
DEFERRED = int(os.environ.get("SLUICE_TEST_DEFERRED", "0"))
POKING = int(os.environ.get("SLUICE_TEST_POKING", "0"))
DAG_SETTINGS = {"start_date": datetime(2025, 1, 1), "schedule": None, "catchup": False}

if DEFERRED:
    # Long enough that every worker of the executor gets one.
    with DAG(dag_id="warm_up", max_active_tasks=WORKERS, **DAG_SETTINGS):
        AgentSyncOperator.partial(task_id="warm", target_server=HOST).expand(
            command=[f"sleep 20 # {number}" for number in range(WORKERS)]
        )

    # Few at a time: starting them is not what is looked at.
    with DAG(dag_id="waiting_deferred", max_active_tasks=6, **DAG_SETTINGS):
        AgentAsyncOperator.partial(task_id="wait", target_server=HOST).expand(
            command=[f"cat {PIPE} # {number}" for number in range(DEFERRED)]
        )

    with DAG(dag_id="waiting_poking", max_active_tasks=WORKERS, **DAG_SETTINGS):
        AgentStatusSensor.partial(
            task_id="wait", target_server=HOST, deferrable=False, mode="poke", poke_interval=30
        ).expand(job_id=[f"{{{{ dag_run.conf['jobs'][{number}] }}}}" for number in range(POKING)])
