"""
What Airflow says of its own tasks and triggerers, asked from outside a task's run.

On 2.11 the database is read; on 3 nothing but Airflow itself may, so it is asked. Every function may raise whatever
Airflow raises: who asks must then leave everything as it is.
"""

from __future__ import annotations

from typing import Any

import httpx
from asgiref.sync import sync_to_async

from airflow_provider_sluice.address import base_url
from airflow_provider_sluice.versions import AIRFLOW_3, conf

#: The states in which a task instance is done with; None, "scheduled" and all others may still come to something.
FINISHED = ("success", "failed", "skipped", "upstream_failed", "removed")


async def is_still_deferred(ti: Any, trigger_id: int | None) -> bool:
    """
    Whether this task waits on. A trigger that ends while it does was only moved to another triggerer.

    :param ti: the task instance that Airflow gave the trigger
    """
    if AIRFLOW_3:
        states = await run_states(ti.dag_id, ti.run_id, [ti.task_id])
        return states.get(state_name(ti.task_id, ti.map_index)) == "deferred"
    row = await sync_to_async(read_row)(ti)
    # Cleared and deferred again, it waits on another trigger.
    return row is not None and row.state == "deferred" and row.trigger_id == trigger_id


async def run_states(dag_id: str, run_id: str, task_ids: list[str]) -> dict[str, str | None]:
    """The states of these tasks in one run, by ``state_name``; a task that is not there is left out."""
    if not AIRFLOW_3:
        return await sync_to_async(read_run_states)(dag_id, run_id, task_ids)
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    ask = sync_to_async(RuntimeTaskInstance.get_task_states)
    states = await ask(dag_id=dag_id, task_ids=task_ids, run_ids=[run_id])
    return {name: state and str(state) for name, state in states.get(run_id, {}).items()}


def state_name(task_id: str, map_index: int | None) -> str:
    """How ``run_states`` names a task instance."""
    return task_id if map_index is None or map_index < 0 else f"{task_id}_{map_index}"


def read_row(ti: Any) -> Any:
    """2.11: the task instance's state and trigger in the database."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    model: Any = TaskInstance
    with create_session() as session:
        return (
            session.query(model.state, model.trigger_id)
            .filter_by(dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=ti.map_index)
            .one_or_none()
        )


def read_run_states(dag_id: str, run_id: str, task_ids: list[str]) -> dict[str, str | None]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    model: Any = TaskInstance
    with create_session() as session:
        rows = (
            session.query(model.task_id, model.map_index, model.state)
            .filter(model.dag_id == dag_id, model.run_id == run_id, model.task_id.in_(task_ids))
            .all()
        )
    return {state_name(row.task_id, row.map_index): row.state and str(row.state) for row in rows}


def triggerer_trouble() -> str | None:
    """
    Asked in a worker before a task defers: without a triggerer it would wait for ever.

    :returns: what is wrong in one sentence; None if a triggerer is alive, or if that cannot be told
    """
    try:
        healthy = triggerer_answers() if AIRFLOW_3 else triggerer_beats()
    except Exception:  # Whatever it is, it is no reason to hold a worker.
        return None
    return None if healthy else "No triggerer is alive"


def triggerer_answers() -> bool:
    """3: the API server's health page needs no login."""
    execution_api = conf.get("core", "execution_api_server_url", fallback=None)
    base = (execution_api or base_url()).rstrip("/").removesuffix("/execution")
    reply = httpx.get(f"{base}/api/v2/monitor/health", timeout=5)
    reply.raise_for_status()
    return bool(reply.json()["triggerer"]["status"] == "healthy")


def triggerer_beats() -> bool:
    """2.11: the newest triggerer's heartbeat in the database."""
    from airflow.jobs.job import most_recent_job

    job = most_recent_job("TriggererJob")
    return job is not None and bool(job.is_alive())
