"""
Tasks that wait long enough to be killed; only their first try is long. Every job writes its process down when it
starts, in a file of its DAG and run that nothing else writes.
"""

import os
from datetime import datetime, timedelta

from airflow import DAG

from agent_operators import AgentAsyncOperator, AgentSyncOperator

HOST = "192.168.120.139:18443"
NOTE = f"echo $$ >> {os.environ['SLUICE_TEST_RUNS']}/{{{{ dag.dag_id }}}}.{{{{ run_id }}}}; "
LONG_AT_FIRST = NOTE + "sleep {{ 300 if ti.try_number == 1 else 1 }}; echo try {{ ti.try_number }}"
#: The same for every try: whichever of them starts it, it is one job.
ONCE = NOTE + "sleep {{ dag_run.conf['seconds'] }}; echo once"
AGAIN = {"retries": 2, "retry_delay": timedelta(seconds=1)}

# Each clear is of all runs of a DAG.
for dag_id in ("deferred", "cleared_deferred"):
    with DAG(dag_id=dag_id, start_date=datetime(2025, 1, 1), schedule=None, catchup=False):
        AgentAsyncOperator(task_id="wait", target_server=HOST, command=LONG_AT_FIRST, timeout_seconds=600)

for dag_id in ("in_worker", "cleared_in_worker"):
    with DAG(dag_id=dag_id, start_date=datetime(2025, 1, 1), schedule=None, catchup=False):
        AgentSyncOperator(
            task_id="wait",
            target_server=HOST,
            command=LONG_AT_FIRST,
            timeout_seconds=600,
            deferrable=False,
            # A task that is cleared while it runs waits so long for its next try.
            retry_delay=timedelta(seconds=1),
        )

with DAG(dag_id="limited", start_date=datetime(2025, 1, 1), schedule=None, catchup=False):
    AgentAsyncOperator(
        task_id="wait",
        target_server=HOST,
        command=LONG_AT_FIRST,
        timeout_seconds=600,
        execution_timeout=timedelta(seconds=20),
    )

with DAG(dag_id="once_deferred", start_date=datetime(2025, 1, 1), schedule=None, catchup=False):
    AgentAsyncOperator(task_id="wait", target_server=HOST, command=ONCE, timeout_seconds=600, **AGAIN)

with DAG(dag_id="once_in_worker", start_date=datetime(2025, 1, 1), schedule=None, catchup=False):
    AgentAsyncOperator(task_id="wait", target_server=HOST, command=ONCE, timeout_seconds=600, deferrable=False, **AGAIN)

with DAG(dag_id="behind_door", start_date=datetime(2025, 1, 1), schedule=None, catchup=False):
    AgentAsyncOperator(
        task_id="wait",
        target_server=HOST,
        command=ONCE,
        timeout_seconds=600,
        agent_conn_id="agent_behind_door",
        **AGAIN,
    )
