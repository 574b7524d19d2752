"""
Started by webhook_receiver.py when a job elsewhere is over: the delivery is the conf of the run, the job its ``data``.

Whoever submits a job may name its command and labels, so only words of the gateway's own (id, state, return code, host)
go into a command here.
"""

from datetime import datetime

from airflow import DAG
from airflow.decorators import task

from agent_operators import AgentSyncOperator

with DAG(dag_id="agent_webhook", start_date=datetime(2025, 1, 1), schedule=None, catchup=False):

    @task
    def read_delivery(dag_run=None):
        job = dag_run.conf["data"]
        print(f"{dag_run.conf['type']}: job {job['id']} on {job['target_server']} is {job['state']}")
        return {name: job[name] for name in ("id", "state", "return_code", "labels")}

    follow_up = AgentSyncOperator(
        task_id="follow_up",
        target_server="{{ dag_run.conf['data']['target_server'] }}",
        command="echo after {{ dag_run.conf['data']['id'] }}, which is {{ dag_run.conf['data']['state'] }}",
        agent_conn_id="agent_default",
        timeout_seconds=600,
    )
    read_delivery() >> follow_up
