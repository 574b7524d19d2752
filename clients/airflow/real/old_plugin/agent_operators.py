"""
What users had before there was a gateway, in as few lines as it takes: operators that call the agent on
``target_server`` themselves, and wait by asking it again and again.
"""

import json

import httpx
from airflow import __version__ as airflow_version

if airflow_version.startswith("2."):
    from airflow.hooks.base import BaseHook
    from airflow.models.baseoperator import BaseOperator
    from airflow.sensors.base import BaseSensorOperator
else:
    from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator


def call(conn_id, target_server, method, path, body=None):
    token = json.loads(BaseHook.get_connection(conn_id).extra)["agent_token"]
    url = f"https://{target_server}{path}"
    reply = httpx.request(method, url, json=body, headers={"X-Agent-Token": token}, verify=False, timeout=30)
    reply.raise_for_status()
    return reply.json()


class AgentTmuxOperator(BaseOperator):
    template_fields = ("target_server", "command", "job_user")

    def __init__(self, target_server, command, job_user=None, agent_conn_id="agent_default", **kwargs):
        super().__init__(**kwargs)
        self.target_server = target_server
        self.command = command
        self.job_user = job_user
        self.agent_conn_id = agent_conn_id

    def execute(self, context):
        body = {"job_type": "shell", "command": self.command, "run_as_user": self.job_user, "sync": False}
        body |= {"use_tmux": True, "env": {}, "timeout_seconds": None}
        reply = call(self.agent_conn_id, self.target_server, "POST", "/run", body)
        return {"job_id": reply["job_id"], "status": "submitted"}


class AgentStatusSensor(BaseSensorOperator):
    template_fields = ("target_server", "job_id")

    def __init__(self, target_server, job_id, agent_conn_id="agent_default", **kwargs):
        super().__init__(**kwargs)
        self.target_server = target_server
        self.job_id = job_id
        self.agent_conn_id = agent_conn_id

    def poke(self, context):
        status = call(self.agent_conn_id, self.target_server, "GET", f"/status/{self.job_id}")
        self.log.info("The agent says that job %s is %s", self.job_id, status["status"])
        return status.get("return_code") is not None


class AgentAsyncOperator(BaseOperator):
    def __init__(self, target_server, command, timeout_seconds=3600, **kwargs):
        super().__init__(**kwargs)

    def execute(self, context):
        raise NotImplementedError("no DAG of these tests runs it before the migration")
