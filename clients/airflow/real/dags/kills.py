"""Tasks that wait long enough to be killed; only their first try is long."""

from datetime import datetime, timedelta

from airflow import DAG

from agent_operators import AgentAsyncOperator, AgentSyncOperator

HOST = "192.168.120.139:18443"
LONG_AT_FIRST = "sleep {{ 300 if ti.try_number == 1 else 1 }}; echo try {{ ti.try_number }}"

with DAG(dag_id="deferred", start_date=datetime(2025, 1, 1), schedule=None, catchup=False):
    AgentAsyncOperator(task_id="wait", target_server=HOST, command=LONG_AT_FIRST, timeout_seconds=600)

with DAG(dag_id="to_be_cleared", start_date=datetime(2025, 1, 1), schedule=None, catchup=False):
    AgentAsyncOperator(task_id="wait", target_server=HOST, command=LONG_AT_FIRST, timeout_seconds=600)

with DAG(dag_id="in_worker", start_date=datetime(2025, 1, 1), schedule=None, catchup=False):
    AgentSyncOperator(task_id="wait", target_server=HOST, command=LONG_AT_FIRST, timeout_seconds=600, deferrable=False)

with DAG(dag_id="limited", start_date=datetime(2025, 1, 1), schedule=None, catchup=False):
    AgentAsyncOperator(
        task_id="wait",
        target_server=HOST,
        command="sleep 300",
        timeout_seconds=600,
        execution_timeout=timedelta(seconds=20),
    )
