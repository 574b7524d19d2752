"""The operator for many hosts: one task, one batch of the gateway, however many hosts there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from airflow_provider_sluice.batch_calls import Batch
from airflow_provider_sluice.batch_start import RETRIED, start_or_attach_batch
from airflow_provider_sluice.batch_task import BatchTask
from airflow_provider_sluice.client import GatewayClient
from airflow_provider_sluice.hook import DEFAULT_CONNECTION
from airflow_provider_sluice.identity import TaskIdentity
from airflow_provider_sluice.work_operator import AgentWorkOperator


class AgentFanoutOperator(AgentWorkOperator):
    """
    Runs a command on many hosts, so many at once, and waits for all of them without holding a worker. Succeeds if all
    succeeded. A number of hosts is an int, or a share of all of them such as ``"10%"``.

    :param targets: names of hosts at the gateway or ``host:port``; folded ones will do: ``web[001-120]``, ``db[1,3]``
    :param selector: instead of targets or besides them: the registered hosts with all of these labels; or ``"all"``
    :param command: a shell command line
    :param job_user: the user to run as; None: the agent's own, root by custom
    :param exclude: as ``targets``: not these
    :param max_parallel: how many hosts may be at it at once; by default 50
    :param waves: the size of each wave, the last repeats: ``[1, "10%", "50%"]``. The next one begins when the one
        before is over, and within the limits
    :param wave_pause_seconds: between two waves; None: until somebody resumes the batch
    :param max_failures: when more than so many hosts have ended wrong, nothing new is started
    :param max_unreachable: when more than so many hosts do not answer, nothing new is started
    :param on_limit: what happens then: ``stop``, ``pause`` (until somebody resumes it) or ``cancel`` (what runs, too)
    :param timeout_seconds: how long the command may run on each host; None: without a limit. For the whole there is
        ``execution_timeout``
    :param start_deadline_seconds: how long a host that does not answer may keep its turn; by default 600
    :param env: added to the command's environment
    :param retry_only_failed: a retry of the task runs the command again only where it has not succeeded, and not where
        nothing is known of it (``lost``), because it may still run there. A collection of states: just on hosts that
        stand so. False: on all hosts, as a clear of the task always does
    :param agent_conn_id: the connection that names the gateway
    :param deferrable: whether the task leaves its worker; by default as the connection says, else yes
    """

    template_fields: Sequence[str] = (
        "targets",
        "selector",
        "command",
        "job_user",
        "exclude",
        "max_parallel",
        "waves",
        "max_failures",
        "max_unreachable",
        "env",
    )

    def __init__(
        self,
        *,
        targets: str | Sequence[str] | None = None,
        selector: dict[str, str] | str | None = None,
        command: str,
        job_user: str | None = None,
        exclude: str | Sequence[str] | None = None,
        max_parallel: int | str | None = None,
        waves: Sequence[int | str] | None = None,
        wave_pause_seconds: int | None = 0,
        max_failures: int | str | None = None,
        max_unreachable: int | str | None = None,
        on_limit: str = "stop",
        timeout_seconds: int | None = 3600,
        start_deadline_seconds: int | None = None,
        env: dict[str, str] | None = None,
        retry_only_failed: bool | Collection[str] = True,
        agent_conn_id: str = DEFAULT_CONNECTION,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(agent_conn_id=agent_conn_id, deferrable=deferrable, **kwargs)
        self.targets = targets
        self.selector = selector
        self.command = command
        self.job_user = job_user
        self.exclude = exclude
        self.max_parallel = max_parallel
        self.waves = waves
        self.wave_pause_seconds = wave_pause_seconds
        self.max_failures = max_failures
        self.max_unreachable = max_unreachable
        self.on_limit = on_limit
        self.timeout_seconds = timeout_seconds
        self.start_deadline_seconds = start_deadline_seconds
        self.env = env
        self.retry_only_failed = retry_only_failed

    def _begin(self, context: Any) -> BatchTask:
        return BatchTask(self, context, deferrable=self.deferrable)

    def _start(self, client: GatewayClient, identity: TaskIdentity) -> Batch:
        return start_or_attach_batch(client, identity, self._order(), retried=self._retried(), tell=self._inform)

    def _conclude(self, at: Any, client: GatewayClient, work: Batch) -> dict[str, Any]:
        result: dict[str, Any] = at.conclude(client, work, self._retried())
        return result

    def _retried(self) -> Collection[str]:
        if isinstance(self.retry_only_failed, bool):
            return RETRIED if self.retry_only_failed else ()
        return self.retry_only_failed

    def _order(self) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "targets": names_in(self.targets),
            "selector": self.selector or None,
            "exclude": names_in(self.exclude),
            "max_parallel": counted(self.max_parallel),
            "waves": [counted(size) for size in self.waves] if self.waves else None,
            "max_failures": counted(self.max_failures),
            "max_unreachable": counted(self.max_unreachable),
            "timeout_seconds": self.timeout_seconds,
            "start_deadline_seconds": self.start_deadline_seconds,
            "env": {name: str(value) for name, value in self.env.items()} if self.env else None,
        }
        return {
            "command": self.command,
            "job_user": self.job_user or None,
            "on_limit": self.on_limit,
            "wave_pause_seconds": self.wave_pause_seconds,
            **{name: value for name, value in asked.items() if value is not None},
        }


def names_in(names: str | Sequence[str] | None) -> list[str] | None:
    """One text may hold several names with commas between them; the gateway takes them apart."""
    if names is None or isinstance(names, str):
        return [names] if names else None
    return [str(name) for name in names]


def counted(share: int | str | None) -> int | str | None:
    """A number that went through a template is one all the same."""
    return int(share) if isinstance(share, str) and share.strip().isdigit() else share
