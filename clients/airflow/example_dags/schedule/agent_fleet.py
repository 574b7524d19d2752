"""One task for all hosts of the gateway: first one, then a tenth of them at once, and no further if many fail."""

from datetime import datetime

from airflow import DAG

from agent_operators import AgentFanoutOperator

with DAG(dag_id="agent_fleet", start_date=datetime(2025, 1, 1), schedule=None, catchup=False):
    AgentFanoutOperator(
        task_id="sweep",
        selector="all",  # or {"tier": "web"}, or targets=["web[001-120]", "db1"]
        command="sleep 2; echo swept",
        agent_conn_id="agent_default",
        waves=[1, "10%"],
        max_failures="5%",
        timeout_seconds=600,
    )
