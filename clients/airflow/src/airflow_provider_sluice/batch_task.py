"""What an operator does with its batch: waits for it, says how it goes, and says what hosts said at its end."""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import partial
from typing import Any

from airflow_provider_sluice.batch_calls import (
    BATCH_OVER,
    Batch,
    batch_path,
    cancel_batch,
    read_batch,
    read_batch_output,
)
from airflow_provider_sluice.batch_start import all_batches
from airflow_provider_sluice.batch_trigger import AgentBatchTrigger, Progress
from airflow_provider_sluice.batch_words import (
    Group,
    batch_result,
    describe_batch,
    explain_failure,
    output_lines,
)
from airflow_provider_sluice.calls import LONGEST_HOLD, Call, GatewayError, GatewayUnavailable
from airflow_provider_sluice.client import GatewayClient, growing_pauses, patiently
from airflow_provider_sluice.links import BATCH_ID_XCOM, BATCH_RESULT_XCOM
from airflow_provider_sluice.versions import AirflowException, AirflowFailException
from airflow_provider_sluice.work_task import READ_PATIENCE_SECONDS, WorkTask


class BatchTask(WorkTask):
    kind = "batch"
    id_xcom = BATCH_ID_XCOM

    def __init__(self, task: Any, context: Any, *, deferrable: bool | None) -> None:
        super().__init__(task, context, deferrable=deferrable)
        self._progress = Progress(self._say)

    def is_over(self, work: Batch) -> bool:
        return work["state"] in BATCH_OVER

    def path(self, work_id: str) -> str:
        return batch_path(work_id)

    def read_call(self, work_id: str) -> Call:
        return read_batch(work_id)

    def cancel_call(self, work_id: str, reason: str) -> Call:
        return cancel_batch(work_id, reason)

    def active(self, client: GatewayClient, labels: dict[str, str]) -> list[str]:
        return [batch["id"] for batch in all_batches(client, labels) if not self.is_over(batch)]

    def trigger(self, work: Batch, deadline: float | None, reason: str, *, cancel_on_kill: bool) -> AgentBatchTrigger:
        return AgentBatchTrigger(
            batch_id=work["id"],
            agent_conn_id=self.task.agent_conn_id,
            deadline=deadline,
            deadline_reason=reason,
            cancel_on_kill=cancel_on_kill,
        )

    def wait_here(self, client: GatewayClient, work: Batch, until: float) -> Batch:
        """See ``WorkTask``. One held request at a time."""
        pauses = growing_pauses()
        while not self.is_over(work) and not self.killed:
            rest = min(float(LONGEST_HOLD), until - time.time())
            if rest <= 0:
                break
            try:
                work = client.send(read_batch(work["id"], wait=max(1, round(rest))))
                pauses = growing_pauses()
            except GatewayUnavailable as error:
                self.tell(f"{error}; the batch runs on, and is waited for")
                time.sleep(min(max(next(pauses), error.retry_after), max(rest, 1.0)))
                continue
            if not self.is_over(work):
                self._progress.tell(work)
        if self.killed:
            # As for a job.
            raise AirflowException(f"The task was killed while it waited for batch {work['id']}")
        return work

    def conclude(self, client: GatewayClient, batch: Batch, retried: Collection[str]) -> dict[str, Any]:
        """
        The task's result, which is also pushed as an XCom of its own: a task that fails returns none.

        :param retried: see ``start_or_attach_batch``
        :raises AirflowFailException: if hosts are left that no retry is for
        :raises AirflowException: if the batch did not succeed
        """
        groups = self._output(client, batch)
        self.log.info("%s", describe_batch(batch))
        for line in output_lines(groups):
            self.log.info("%s", line)
        result = batch_result(batch, groups)
        self.context["ti"].xcom_push(key=BATCH_RESULT_XCOM, value=result)
        if batch["state"] != "succeeded":
            raise AirflowException(explain_failure(batch, groups, self.page(batch["id"])))
        left_out = self._left_out(client, batch, retried)
        if left_out:
            raise AirflowFailException(f"Batch {batch['id']} succeeded, but {'; '.join(left_out)}")
        return result

    def _output(self, client: GatewayClient, batch: Batch) -> list[Group]:
        ask = partial(client.send, read_batch_output(batch["id"]))
        groups: list[Group] = patiently(ask, READ_PATIENCE_SECONDS, self.tell)["items"]
        return groups

    def _left_out(self, client: GatewayClient, batch: Batch, retried: Collection[str]) -> list[str]:
        """What earlier batches ended with that no retry was for, such as hosts of which nothing is known."""
        left_out: list[str] = []
        while batch["retry_of"]:
            ask = partial(client.send, read_batch(batch["retry_of"]))
            try:
                before: Batch = patiently(ask, READ_PATIENCE_SECONDS, self.tell)
            except GatewayError as error:
                if error.status != 404:
                    raise
                break
            if before["total"] - before["counts"]["succeeded"] > batch["total"]:
                left_out += [
                    f"{group['hosts']}, {group['state']} in {before['id']}, was not run again"
                    for group in self._output(client, before)
                    if group["state"] not in ("succeeded", *retried)
                ]
            batch = before
        return left_out
