# dags/agent_async_test.py
from datetime import datetime
from airflow import DAG
from agent_operators import AgentAsyncOperator

with DAG(dag_id="agent_async_test", start_date=datetime(2025, 1, 1), schedule_interval=None, catchup=False):
    AgentAsyncOperator(
        task_id="async_short_job",
        target_server="192.168.120.139:18443",
        command="sleep 30 && echo 'done async'",
        job_user=None,
        agent_conn_id="agent_default",
        timeout_seconds=900,
        poll_interval=15,
    )
