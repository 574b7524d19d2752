"""
The trigger: waits in a triggerer for the end of one job, writes its output into the task's log meanwhile, and cancels
the job if the task is killed.

Its arguments are kept in Airflow's database and shown: no key is among them. It fires exactly one event, small, which
names the job; whoever resumes reads the job anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow_provider_sluice.calls import OVER, GatewayError, GatewayUnavailable, Job, cancel_job, read_job
from airflow_provider_sluice.output import CHUNK_BYTES, OutputLog
from airflow_provider_sluice.shared import Gateway, find_gateway, loop_share
from airflow_provider_sluice.task_state import is_still_deferred
from airflow_provider_sluice.versions import TRIGGERS_HEAR_OF_KILLS, AirflowException, BaseTrigger, TriggerEvent
from airflow_provider_sluice.waiter import JobUnknown, start_apart

#: Each trigger also asks for its own job so often, in seconds.
ASK_SECONDS = 60.0
#: Pauses between two looks at a job's output, in seconds.
FIRST_LOOK_SECONDS = 5.0
LONGEST_LOOK_SECONDS = 30.0
#: What is said while a job cannot be reached is said again after so long, in seconds.
REMIND_SECONDS = 600.0

#: Keeps cancels that outlive their trigger from being collected.
CANCELS: set[asyncio.Task[Any]] = set()


class AgentJobTrigger(BaseTrigger):
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
        super().__init__()  # type: ignore[no-untyped-call]
        self.job_id = job_id
        self.agent_conn_id = agent_conn_id
        self.deadline = deadline
        self.deadline_reason = deadline_reason
        self.cancel_on_kill = cancel_on_kill
        self.printed = printed
        self._gateway: Gateway | None = None
        self._fired = False
        self._told: tuple[str, float] = ("", 0.0)

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
        # Before the event: what ends this trigger from here on is no kill.
        self._fired = True
        yield TriggerEvent({**event, "job_id": self.job_id, "printed": output.printed})

    async def on_kill(self) -> None:
        """Airflow 3.3 and later."""
        await self._cancel_if_killed()

    async def cleanup(self) -> None:
        """Runs at every end; up to Airflow 3.2 it is the only word of a kill."""
        if not TRIGGERS_HEAR_OF_KILLS:
            await self._cancel_if_killed()

    async def _end_or_deadline(self) -> dict[str, Any]:
        while True:
            rest = ASK_SECONDS if self.deadline is None else self.deadline - time.time()
            if rest <= 0:
                return {"status": "timeout", "reason": self.deadline_reason}
            try:
                job = await self._wait(min(rest, ASK_SECONDS))
            except JobUnknown as error:
                return {"status": "unknown", "reason": str(error)}
            except AirflowException as error:
                # Neither a gateway that is away nor a connection that somebody edits ends a job.
                self._tell(f"{error}; the job runs on, and is waited for")
                await asyncio.sleep(min(5.0, max(rest, 0)))
                continue
            if job and job["state"] in OVER:
                return {"status": "over", "state": job["state"]}
            if job and job["state"] == "unreachable":
                self._tell(f"{job['target_server']} has not answered since {job['unreachable_since']}; waiting on")

    async def _wait(self, seconds: float) -> Job | None:
        """Together with all others; after so many seconds asks for this job alone."""
        self._gateway = gateway = await find_gateway(self.agent_conn_id)
        gateway.reconciler.keep_going()
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

    async def _cancel_if_killed(self) -> None:
        if self._fired or not self.cancel_on_kill or self._gateway is None:
            return
        # Airflow gives this a second: the work goes on without it, and is kept from being collected.
        work = start_apart(self._cancel_unless_waiting(self._gateway))
        CANCELS.add(work)
        work.add_done_callback(CANCELS.discard)
        await asyncio.shield(work)

    async def _cancel_unless_waiting(self, gateway: Gateway) -> None:
        try:
            if self.task_instance is None or await is_still_deferred(self.task_instance, self.trigger_id):
                return
            await gateway.client.send(cancel_job(self.job_id, "The Airflow task was ended"))
        except GatewayUnavailable as error:
            self.log.warning("Job %s could not be canceled: %s", self.job_id, error)
        except GatewayError as error:
            if error.code != "job_is_over":
                self.log.warning("Job %s could not be canceled: %s", self.job_id, error)
        except Exception:
            # Not known to be killed: the job is left alone.
            self.log.warning("Whether job %s is still waited for cannot be told", self.job_id, exc_info=True)

    def _say(self, line: str) -> None:
        self.log.info("%s", line)

    def _tell(self, line: str) -> None:
        """The same thing only now and then."""
        told, at = self._told
        if line != told or time.monotonic() - at > REMIND_SECONDS:
            self._told = (line, time.monotonic())
            self.log.warning("%s", line)
