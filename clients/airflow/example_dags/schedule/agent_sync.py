from datetime import datetime

from airflow import DAG

from agent_operators import AgentSyncOperator

with DAG(dag_id="agent_sync", start_date=datetime(2025, 1, 1), schedule=None, catchup=False):
    AgentSyncOperator(
        task_id="sync_ls_root",
        target_server="192.168.120.139:18443",
        command="ls -l /root",
        job_user=None,  # run as root
        agent_conn_id="agent_default",
        timeout_seconds=600,
    )
