"""
The operators that DAGs use. They differ in how the job runs on its host, in how long the task stays in its worker, and
in which time limit the gateway is told.

Every parameter is named in every ``__init__``: ``default_args`` of a DAG do not reach what hides in ``**kwargs``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from airflow_provider_sluice.calls import OVER, GatewayError, cancel_job, read_job
from airflow_provider_sluice.client import patiently
from airflow_provider_sluice.hook import DEFAULT_CONNECTION
from airflow_provider_sluice.job_operator import AgentJobOperator
from airflow_provider_sluice.job_task import JobTask
from airflow_provider_sluice.links import AgentJobLink
from airflow_provider_sluice.versions import BaseOperator
from airflow_provider_sluice.work_task import READ_PATIENCE_SECONDS

#: How long AgentSyncOperator stays in its worker before it defers, in seconds.
SYNC_WORKER_SECONDS = 30.0
#: The time limit of a tmux job that is waited for, unless it says another.
TMUX_TIMEOUT_SECONDS = 86_400
#: How long AgentCancelOperator waits for the proof that the job has ended, in seconds.
CANCEL_PROOF_SECONDS = 60


class AgentSyncOperator(AgentJobOperator):
    """
    Runs a short command and returns its output.

    :param target_server: a host's name at the gateway, or its ``host:port``
    :param command: a shell command line
    :param job_user: the user to run as; None: the agent's own, root by custom
    :param agent_conn_id: the connection that names the gateway
    :param timeout_seconds: how long the command may run, and how long it may wait for its start
    :param deferrable: whether the task leaves its worker after 30 s; by default as the connection says, else yes
    :param skip_on_exit_code: the exit codes that skip the task instead of failing it
    """

    job_mode = "sync"
    worker_seconds = SYNC_WORKER_SECONDS

    def __init__(
        self,
        *,
        target_server: str,
        command: str,
        job_user: str | None = None,
        agent_conn_id: str = DEFAULT_CONNECTION,
        timeout_seconds: int = 3600,
        deferrable: bool | None = None,
        skip_on_exit_code: int | Collection[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            target_server=target_server,
            command=command,
            job_user=job_user,
            agent_conn_id=agent_conn_id,
            timeout_seconds=timeout_seconds,
            poll_interval=None,
            deferrable=deferrable,
            skip_on_exit_code=skip_on_exit_code,
            **kwargs,
        )


class AgentAsyncOperator(AgentJobOperator):
    """
    Runs a command as a detached process and waits for its end without holding a worker. See ``AgentSyncOperator``.

    :param poll_interval: the longest pause between two questions of the gateway to the agent, in seconds. The task
        itself does not poll
    """

    job_mode = "async"

    def __init__(
        self,
        *,
        target_server: str,
        command: str,
        job_user: str | None = None,
        agent_conn_id: str = DEFAULT_CONNECTION,
        timeout_seconds: int = 3600,
        poll_interval: int = 15,
        deferrable: bool | None = None,
        skip_on_exit_code: int | Collection[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            target_server=target_server,
            command=command,
            job_user=job_user,
            agent_conn_id=agent_conn_id,
            timeout_seconds=timeout_seconds,
            poll_interval=poll_interval,
            deferrable=deferrable,
            skip_on_exit_code=skip_on_exit_code,
            **kwargs,
        )


class AgentTmuxOperator(AgentJobOperator):
    """
    Runs a command in a tmux session that a person on the host can attach to. See ``AgentAsyncOperator``.

    :param fire_and_forget: return ``{"job_id": ..., "status": "submitted"}`` at once; ``AgentStatusSensor`` can wait
        for the job. It then outlives the task, whatever becomes of that
    :param timeout_seconds: by default 86400; with ``fire_and_forget`` by default none, because such jobs live for days
        beside a patient sensor, and none was ever enforced
    """

    job_mode = "tmux"

    def __init__(
        self,
        *,
        target_server: str,
        command: str,
        job_user: str | None = None,
        fire_and_forget: bool = True,
        agent_conn_id: str = DEFAULT_CONNECTION,
        timeout_seconds: int | None = None,
        poll_interval: int = 30,
        deferrable: bool | None = None,
        skip_on_exit_code: int | Collection[int] | None = None,
        **kwargs: Any,
    ) -> None:
        if timeout_seconds is None and not fire_and_forget:
            timeout_seconds = TMUX_TIMEOUT_SECONDS
        super().__init__(
            target_server=target_server,
            command=command,
            job_user=job_user,
            agent_conn_id=agent_conn_id,
            timeout_seconds=timeout_seconds,
            poll_interval=poll_interval,
            deferrable=deferrable,
            skip_on_exit_code=skip_on_exit_code,
            **kwargs,
        )
        self.fire_and_forget = fire_and_forget


class AgentTmuxUnifiedOperator(AgentJobOperator):
    """
    Runs a command in a tmux session and waits for its end, for as long as that takes. See ``AgentTmuxOperator``.

    :param env: added to the command's environment
    """

    template_fields: Sequence[str] = (*AgentJobOperator.template_fields, "env")
    job_mode = "tmux"

    def __init__(
        self,
        *,
        target_server: str,
        command: str,
        job_user: str | None = None,
        agent_conn_id: str = DEFAULT_CONNECTION,
        poll_interval: int = 30,
        env: dict[str, str] | None = None,
        deferrable: bool | None = None,
        skip_on_exit_code: int | Collection[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            target_server=target_server,
            command=command,
            job_user=job_user,
            agent_conn_id=agent_conn_id,
            timeout_seconds=None,
            poll_interval=poll_interval,
            deferrable=deferrable,
            skip_on_exit_code=skip_on_exit_code,
            **kwargs,
        )
        self.env = env

    def _order(self) -> dict[str, Any]:
        order = super()._order()
        if self.env:
            order["env"] = {name: str(value) for name, value in self.env.items()}
        return order


class AgentCancelOperator(BaseOperator):
    """
    Cancels a job and waits up to a minute for the proof that it has ended. A job that is over already is left as it is.

    :param target_server: as for the job
    :param job_id: the job; also one that was submitted to the agent of ``target_server`` itself
    :param agent_conn_id: the connection that names the gateway
    """

    template_fields: Sequence[str] = ("target_server", "job_id")
    operator_extra_links = (AgentJobLink(),)
    ui_color = "#f7e6e3"

    def __init__(
        self,
        *,
        target_server: str,
        job_id: str,
        agent_conn_id: str = DEFAULT_CONNECTION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target_server = target_server
        self.job_id = job_id
        self.agent_conn_id = agent_conn_id

    def execute(self, context: Any) -> dict[str, Any]:
        at = JobTask(self, context, deferrable=False)
        with at.client() as client:
            job = at.find(client, self.job_id, self.target_server)
            at.note(job)
            if job["state"] not in OVER:
                call = cancel_job(job["id"], "An Airflow task cancels it")
                try:
                    patiently(lambda: client.send(call), READ_PATIENCE_SECONDS, at.tell)
                except GatewayError as error:
                    if error.code != "job_is_over":
                        raise
                proof = read_job(job["id"], wait=CANCEL_PROOF_SECONDS)
                job = patiently(lambda: client.send(proof), READ_PATIENCE_SECONDS, at.tell)
        self.log.info("Job %s is %s", job["id"], job["state"])
        return {
            "job_id": job["id"],
            "status": "cancelled" if job["state"] in ("canceled", "canceling") else "finished",
            "return_code": job["return_code"],
            "state": job["state"],
            "outcome": job["outcome"],
        }
