"""The trigger of one batch: one held request for all of its hosts, and a line about how it goes now and then."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from airflow_provider_sluice.batch_calls import BATCH_OVER, Batch, cancel_batch, read_batch, read_batch_output
from airflow_provider_sluice.batch_words import describe_batch, failed_hosts
from airflow_provider_sluice.calls import Call, GatewayError
from airflow_provider_sluice.shared import Gateway
from airflow_provider_sluice.versions import TriggerEvent
from airflow_provider_sluice.waiter import JobUnknown
from airflow_provider_sluice.waiting_trigger import WaitingTrigger

#: Between two lines about a batch, in seconds: the first, and what that grows to.
FIRST_LINE_SECONDS = 30.0
LONGEST_LINE_SECONDS = 600.0


class AgentBatchTrigger(WaitingTrigger):
    """
    Fires ``{"status": ..., "batch_id": ...}``: ``over``, with ``state``, ``counts`` and ``failed_hosts``; ``timeout``,
    with ``reason``; or ``unknown``.

    :param batch_id: the gateway's id of the batch
    :param agent_conn_id: the connection that names the gateway
    :param deadline: when to give up, in seconds since 1970: another host may go on with this trigger
    :param deadline_reason: what the deadline is, for people
    :param cancel_on_kill: whether the batch is canceled when the task is killed
    """

    def __init__(
        self,
        batch_id: str,
        agent_conn_id: str,
        deadline: float | None = None,
        deadline_reason: str = "",
        cancel_on_kill: bool = False,
    ) -> None:
        super().__init__(f"Batch {batch_id}", agent_conn_id, deadline, deadline_reason, cancel_on_kill)
        self.batch_id = batch_id
        self._progress = Progress(self._say)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {
            "batch_id": self.batch_id,
            "agent_conn_id": self.agent_conn_id,
            "deadline": self.deadline,
            "deadline_reason": self.deadline_reason,
            "cancel_on_kill": self.cancel_on_kill,
        }
        # As for AgentJobTrigger.
        return "agent_operators.AgentBatchTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        event = await self._end_or_deadline()
        self._fired = True
        yield TriggerEvent({**event, "batch_id": self.batch_id})

    async def _ask(self, gateway: Gateway, seconds: float) -> dict[str, Any] | None:
        try:
            batch: Batch = await gateway.client.send(read_batch(self.batch_id, wait=max(1, round(seconds))))
        except GatewayError as error:
            if error.status == 404:
                raise JobUnknown(str(error)) from error
            raise
        if batch["state"] not in BATCH_OVER:
            self._progress.tell(batch)
            return None
        groups = []
        if batch["state"] != "succeeded":
            groups = (await gateway.client.send(read_batch_output(self.batch_id)))["items"]
        return {
            "status": "over",
            "state": batch["state"],
            "counts": batch["counts"],
            "failed_hosts": failed_hosts(groups),
        }

    def _cancel_call(self, reason: str) -> Call:
        return cancel_batch(self.batch_id, reason)


class Progress:
    """Lines about how a batch goes, ever further apart. :param write: takes one line"""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._line = ""
        self._next_at = 0.0
        self._pause = FIRST_LINE_SECONDS

    def tell(self, batch: Batch) -> None:
        line = describe_batch(batch)
        now = time.monotonic()
        if line == self._line or now < self._next_at:
            return
        self._write(line)
        self._line, self._next_at = line, now + self._pause
        self._pause = min(self._pause * 2, LONGEST_LINE_SECONDS)
