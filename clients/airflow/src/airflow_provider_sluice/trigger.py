"""The trigger of one job: writes its output into the task's log while it waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow_provider_sluice.calls import OVER, Call, GatewayError, Job, cancel_job, read_job
from airflow_provider_sluice.output import CHUNK_BYTES, OutputLog
from airflow_provider_sluice.shared import Gateway, find_gateway, loop_share
from airflow_provider_sluice.versions import AirflowException, TriggerEvent
from airflow_provider_sluice.waiter import JobUnknown
from airflow_provider_sluice.waiting_trigger import WaitingTrigger

#: Pauses between two looks at a job's output, in seconds.
FIRST_LOOK_SECONDS = 5.0
LONGEST_LOOK_SECONDS = 30.0


class AgentJobTrigger(WaitingTrigger):
    """
    Fires ``{"status": ..., "job_id": ..., "printed": ...}``: ``over``; ``timeout``, with ``reason``; or ``unknown``.

    :param job_id: the gateway's id of the job
    :param agent_conn_id: the connection that names the gateway
    :param deadline: when to give up, in seconds since 1970: another host may go on with this trigger
    :param deadline_reason: what the deadline is, for people
    :param cancel_on_kill: whether the job is canceled when the task is killed
    :param printed: bytes of each stream that are in the task's log already
    """

    def __init__(
        self,
        job_id: str,
        agent_conn_id: str,
        deadline: float | None = None,
        deadline_reason: str = "",
        cancel_on_kill: bool = False,
        printed: dict[str, int] | None = None,
    ) -> None:
        super().__init__(f"Job {job_id}", agent_conn_id, deadline, deadline_reason, cancel_on_kill)
        self.job_id = job_id
        self.printed = printed

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {
            "job_id": self.job_id,
            "agent_conn_id": self.agent_conn_id,
            "deadline": self.deadline,
            "deadline_reason": self.deadline_reason,
            "cancel_on_kill": self.cancel_on_kill,
            "printed": self.printed,
        }
        # Not this module's own name: what waits in the database must be found by the package and by the single file.
        return "agent_operators.AgentJobTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        output = OutputLog(self._say, self.printed)
        look = asyncio.ensure_future(self._follow_output(output))
        try:
            event = await self._end_or_deadline()
        finally:
            look.cancel()
        self._fired = True
        yield TriggerEvent({**event, "job_id": self.job_id, "printed": output.printed})

    async def _ask(self, gateway: Gateway, seconds: float) -> dict[str, Any] | None:
        job = await self._wait(gateway, seconds)
        if job["state"] in OVER:
            return {"status": "over", "state": job["state"]}
        if job["state"] == "unreachable":
            self._tell(f"{job['target_server']} has not answered since {job['unreachable_since']}; waiting on")
        return None

    def _cancel_call(self, reason: str) -> Call:
        return cancel_job(self.job_id, reason)

    async def _wait(self, gateway: Gateway, seconds: float) -> Job:
        """Together with all others; after so many seconds asks for this job alone."""
        over = gateway.waiter.watch(self.job_id)
        try:
            await asyncio.wait([over], timeout=seconds)
            if over.done():
                return over.result()
        finally:
            gateway.waiter.forget(self.job_id, over)
        try:
            job: Job = await gateway.client.send(read_job(self.job_id))
        except GatewayError as error:
            if error.status == 404:
                raise JobUnknown(str(error)) from error
            raise
        return job

    async def _follow_output(self, output: OutputLog) -> None:
        """What is left at the end is written by the task when it resumes."""
        pause = FIRST_LOOK_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                grown = await self._catch_up(output)
            except AirflowException:
                # It is the host or the gateway that is away, and the wait says so.
                grown = False
            pause = FIRST_LOOK_SECONDS if grown else min(pause * 1.5, LONGEST_LOOK_SECONDS)

    async def _catch_up(self, output: OutputLog) -> bool:
        gateway = await find_gateway(self.agent_conn_id)
        grown = False
        for stream in output.streams:
            more = True
            while more:
                async with loop_share().output_places:
                    got = await gateway.client.output(self.job_id, stream.stream, stream.offset, CHUNK_BYTES)
                stream.feed(got)
                grown = grown or bool(got.data)
                more = not got.complete and len(got.data) >= CHUNK_BYTES
        return grown
