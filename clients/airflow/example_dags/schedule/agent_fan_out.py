"""One task per shard, all on the gateway at once; what each returned is gathered by one more."""

from datetime import datetime

from airflow import DAG
from airflow.decorators import task

from agent_operators import AgentAsyncOperator

with DAG(dag_id="agent_fan_out", start_date=datetime(2025, 1, 1), schedule=None, catchup=False):
    shards = AgentAsyncOperator.partial(
        task_id="shard",
        target_server="192.168.120.139:18443",
        agent_conn_id="agent_default",
        timeout_seconds=600,
    ).expand(command=[f"sleep 2; echo shard {number}" for number in range(5)])

    @task
    def gather(results):
        return [result["stdout"].strip() for result in results]

    gather(shards.output)
