"""
Cancels jobs and batches whose tasks are over: the kills that reach no hook of Airflow's, such as one while no triggerer
is up.

Runs in a triggerer while tasks wait there. It acts only on what Airflow says twice, a minute apart, and only on what a
task was to wait for: what Airflow does not know, or does not answer, is left alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from airflow_provider_sluice.batch_calls import BATCH_AT_WORK, BATCH_ID_PREFIX, cancel_batch, list_batches
from airflow_provider_sluice.calls import TOO_LATE, Call, GatewayError, Job, cancel_job, list_jobs
from airflow_provider_sluice.client import AsyncGatewayClient
from airflow_provider_sluice.identity import (
    AWAITED_BATCH,
    AWAITED_LABEL,
    DAG_LABEL,
    INSTANCE_LABEL,
    MAP_INDEX_LABEL,
    RUN_LABEL,
    TASK_ID_LABEL,
)
from airflow_provider_sluice.task_state import FINISHED, run_states, state_name
from airflow_provider_sluice.waiter import start_apart

reconcile_log = logging.getLogger(__name__)

#: Between two looks, and how long a task must have been over, in seconds.
ROUND_SECONDS = 60.0
#: The states of jobs that a cancel would end, without those where one is under way.
RUNNING_STATES = ("queued", "dispatching", "running", "unreachable")


class Reconciler:
    """Ends by itself some time after nobody has asked it to keep going any more."""

    def __init__(self, client: AsyncGatewayClient) -> None:
        self._client = client
        self._wanted_at = 0.0
        self._task: asyncio.Task[None] | None = None
        #: Since when the task of a job or a batch has been seen to be over.
        self._over_since: dict[str, float] = {}

    def keep_going(self) -> None:
        """Called by every task that waits, at least once a minute."""
        self._wanted_at = time.monotonic()
        if self._task is None or self._task.done():
            self._task = start_apart(self._run())

    async def _run(self) -> None:
        while time.monotonic() - self._wanted_at < 2 * ROUND_SECONDS:
            await asyncio.sleep(ROUND_SECONDS)
            try:
                await self.round()
            except Exception as error:
                # Airflow or the gateway is away: nothing can be said of any task, and nothing is done.
                self._over_since.clear()
                reconcile_log.warning("Which jobs' tasks are over cannot be told: %s", error)

    async def round(self) -> None:
        """What is said of jobs here goes for batches, too: to Airflow they are the same."""
        over = [job["id"] for job in await self._jobs_of_finished_tasks()]
        now = time.monotonic()
        self._over_since = {job_id: self._over_since.get(job_id, now) for job_id in over}
        for job_id, since in self._over_since.items():
            if now - since >= ROUND_SECONDS * 0.9:
                await self._cancel(job_id)

    async def _jobs_of_finished_tasks(self) -> list[Job]:
        runs: dict[tuple[str, str], list[Job]] = {}
        for job in await self._awaited_jobs():
            labels = job["labels"]
            runs.setdefault((labels.get(DAG_LABEL, ""), labels.get(RUN_LABEL, "")), []).append(job)
        finished: list[Job] = []
        for (dag_id, run_id), jobs in runs.items():
            task_ids = sorted({job["labels"].get(TASK_ID_LABEL, "") for job in jobs})
            states = await run_states(dag_id, run_id, task_ids)
            finished += [job for job in jobs if states.get(name_of(job, task_ids)) in FINISHED]
        return finished

    async def _awaited_jobs(self) -> list[Job]:
        instance = {INSTANCE_LABEL: self._client.address.instance}
        jobs = partial(list_jobs, {**instance, AWAITED_LABEL: "true"}, states=RUNNING_STATES)
        batches = partial(list_batches, {**instance, AWAITED_LABEL: AWAITED_BATCH}, states=BATCH_AT_WORK)
        return [*await self._all(jobs), *await self._all(batches)]

    async def _all(self, page_of: Callable[..., Call]) -> list[Job]:
        items: list[Job] = []
        page_token = None
        while True:
            page = await self._client.send(page_of(page_token=page_token))
            items.extend(page["items"])
            page_token = page["next_page_token"]
            if page_token is None:
                return items

    async def _cancel(self, job_id: str) -> None:
        cancel = cancel_batch if job_id.startswith(BATCH_ID_PREFIX) else cancel_job
        reconcile_log.warning("%s runs on though its Airflow task is over: canceling it", job_id)
        try:
            await self._client.send(cancel(job_id, "The Airflow task is over"))
        except GatewayError as error:
            if error.code not in TOO_LATE:
                raise


def name_of(job: Job, task_ids: list[str]) -> str:
    """How ``run_states`` names the job's task; empty where that name may also be another task's."""
    map_index = int(job["labels"].get(MAP_INDEX_LABEL, -1))
    name = state_name(job["labels"].get(TASK_ID_LABEL, ""), map_index)
    return "" if map_index >= 0 and name in task_ids else name
