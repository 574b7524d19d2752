"""
One held request for all tasks of a triggerer that wait for the same gateway with the same key.

Each watcher gets a future. If the waiter ends, for whatever reason, it fails its futures, so that nobody waits for it
in vain; and whoever waits also asks for its own job now and then. It belongs to one event loop and ends when nobody
has waited for a while.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Coroutine
from typing import Any

from airflow_provider_sluice.calls import GatewayError, GatewayUnavailable, Job, wait_for_any
from airflow_provider_sluice.client import AsyncGatewayClient, growing_pauses

log = logging.getLogger(__name__)

#: What the gateway takes in one request.
JOBS_PER_REQUEST = 1000
#: Newcomers join the held request by sending it anew: at most so often, in seconds.
RENEW_SECONDS = 0.5
#: How long a waiter stays without anybody who waits, in seconds.
LINGER_SECONDS = 5.0


class JobUnknown(GatewayError):
    """The gateway knows no such job, or does not show it to this key."""


class Waiter:
    """:param client: to ask with; not closed by it"""

    def __init__(self, client: AsyncGatewayClient) -> None:
        self._client = client
        self._watched: dict[str, set[asyncio.Future[Job]]] = {}
        self._joined = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def watch(self, job_id: str) -> asyncio.Future[Job]:
        """
        :returns: the job, once it is over; ``JobUnknown`` or another ``GatewayError`` if that cannot be had. ``forget``
            it when it is no longer wanted
        """
        future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self._watched.setdefault(job_id, set()).add(future)
        self._joined.set()
        if self._task is None or self._task.done():
            self._task = start_apart(self._run())
        return future

    def forget(self, job_id: str, future: asyncio.Future[Job]) -> None:
        if future.done() and not future.cancelled():
            future.exception()  # Read, so that asyncio does not complain of it.
        futures = self._watched.get(job_id, set())
        futures.discard(future)
        if not futures:
            self._watched.pop(job_id, None)

    async def _run(self) -> None:
        try:
            while await self._somebody_waits():
                await self._round()
        finally:
            ended = GatewayUnavailable("The shared wait of this triggerer has ended")
            for job_id in list(self._watched):
                self._settle(job_id, ended)

    async def _somebody_waits(self) -> bool:
        if self._watched:
            return True
        self._joined.clear()
        try:
            await asyncio.wait_for(self._joined.wait(), LINGER_SECONDS)
        except asyncio.TimeoutError:
            return bool(self._watched)
        return True

    async def _round(self) -> None:
        """Holds requests for all that are watched now, until one answers or somebody joins."""
        self._joined.clear()
        ids = list(self._watched)
        parts = [ids[start : start + JOBS_PER_REQUEST] for start in range(0, len(ids), JOBS_PER_REQUEST)]
        held = [asyncio.ensure_future(self._hold(part)) for part in parts]
        joined = asyncio.ensure_future(self._join())
        try:
            await asyncio.wait([*held, joined], return_when=asyncio.FIRST_COMPLETED)
            for task in held:
                if task.done():
                    # What nobody foresaw ends the waiter, and so is told to all who wait.
                    task.result()
        finally:
            for task in (*held, joined):
                task.cancel()
            await asyncio.gather(*held, joined, return_exceptions=True)

    async def _join(self) -> None:
        await asyncio.sleep(RENEW_SECONDS)
        await self._joined.wait()

    async def _hold(self, ids: list[str]) -> None:
        reply = None
        for pause in growing_pauses():
            try:
                reply = await self._client.send(wait_for_any(ids))
                break
            except GatewayUnavailable as error:
                log.warning("%s; %d tasks wait on", error, len(ids))
                await asyncio.sleep(max(pause, error.retry_after))
            except GatewayError as error:
                # The key is refused, say: each task tells so in its own log.
                for job_id in ids:
                    self._settle(job_id, error)
                return
        if reply is None:
            return
        for job in reply["ready"]:
            self._settle(job["id"], job)
        for job_id in reply["unknown"]:
            self._settle(job_id, JobUnknown(f"The gateway at {self._client.address.url} knows no job {job_id}"))

    def _settle(self, job_id: str, what: Job | GatewayError) -> None:
        for future in self._watched.pop(job_id, set()):
            if future.done():
                continue
            if isinstance(what, GatewayError):
                future.set_exception(what)
            else:
                future.set_result(what)


def start_apart(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """
    As a task that belongs to nobody: with the context of the trigger that happens to start it, its log lines would land
    in the log of that trigger's task.
    """
    loop = asyncio.get_running_loop()
    return contextvars.Context().run(loop.create_task, work)
