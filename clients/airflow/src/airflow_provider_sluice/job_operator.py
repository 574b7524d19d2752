"""What the operators share that run one command on one host."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from airflow_provider_sluice.calls import Job
from airflow_provider_sluice.client import GatewayClient
from airflow_provider_sluice.identity import TaskIdentity
from airflow_provider_sluice.job_task import JobTask
from airflow_provider_sluice.start import start_or_attach
from airflow_provider_sluice.work_operator import AgentWorkOperator

#: The gateway ends a job at its timeout, and says how it ended; a task gives up on its own only so long after it.
GRACE_SECONDS = 15.0


class AgentJobOperator(AgentWorkOperator):
    """What the others share. Not for DAGs."""

    template_fields: Sequence[str] = ("target_server", "command", "job_user")

    #: How the job runs on its host: ``mode`` of a submit.
    job_mode = "async"

    def __init__(
        self,
        *,
        target_server: str,
        command: str,
        job_user: str | None,
        agent_conn_id: str,
        timeout_seconds: int | None,
        poll_interval: int | None,
        deferrable: bool | None,
        skip_on_exit_code: int | Collection[int] | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(agent_conn_id=agent_conn_id, deferrable=deferrable, **kwargs)
        self.target_server = target_server
        self.command = command
        self.job_user = job_user
        self.timeout_seconds = timeout_seconds
        self.poll_interval = poll_interval
        self.skip_on_exit_code = exit_codes(skip_on_exit_code)

    def _begin(self, context: Any) -> JobTask:
        return JobTask(self, context, deferrable=self.deferrable)

    def _start(self, client: GatewayClient, identity: TaskIdentity) -> Job:
        awaited = not self.fire_and_forget
        return start_or_attach(client, identity, self._order(), awaited=awaited, tell=self._inform)

    def _conclude(self, at: Any, client: GatewayClient, work: Job) -> dict[str, Any]:
        result: dict[str, Any] = at.conclude(client, work, self.skip_on_exit_code)
        return result

    def _order(self) -> dict[str, Any]:
        order: dict[str, Any] = {
            "target_server": self.target_server,
            "command": self.command,
            "mode": self.job_mode,
            "job_user": self.job_user or None,
        }
        if self.timeout_seconds is not None:
            order["timeout_seconds"] = int(self.timeout_seconds)
            if not self.fire_and_forget:
                # A host that is down ends the task no later than a command that hangs.
                order["start_deadline_seconds"] = int(self.timeout_seconds)
        if self.poll_interval is not None:
            order["poll_interval"] = max(1, int(self.poll_interval))
        return order

    def _limits(self) -> list[tuple[float, str]]:
        if self.timeout_seconds is None:
            return []
        reason = f"it was not over {self.timeout_seconds} s after its submit"
        return [(self.timeout_seconds + GRACE_SECONDS, reason)]


def exit_codes(codes: int | Collection[int] | None) -> frozenset[int]:
    if codes is None:
        return frozenset()
    return frozenset({codes} if isinstance(codes, int) else codes)
