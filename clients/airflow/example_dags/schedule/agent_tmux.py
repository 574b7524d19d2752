from datetime import datetime

from airflow import DAG

from agent_operators import AgentStatusSensor, AgentTmuxOperator

with DAG(dag_id="agent_tmux", start_date=datetime(2025, 1, 1), schedule="*/10 * * * *", catchup=False):
    start_tmux = AgentTmuxOperator(
        task_id="tmux_longrun",
        target_server="192.168.120.139:18443",
        command="sh /home/testuser/run_etl.sh",
        job_user="testuser",
        fire_and_forget=True,  # IMPORTANT: no blocking in operator
        agent_conn_id="agent_default",
    )
    wait_tmux = AgentStatusSensor(
        task_id="wait_for_tmux_longrun",
        target_server="192.168.120.139:18443",
        agent_conn_id="agent_default",
        job_id="{{ ti.xcom_pull('tmux_longrun')['job_id'] }}",
        poke_interval=30,  # every 30s
        timeout=48 * 3600,  # up to 48 hours
    )
    start_tmux >> wait_tmux
