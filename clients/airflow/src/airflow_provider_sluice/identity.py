"""
Which jobs belong to a task, so that an Airflow retry is not a second start.

``key`` names the task instance, ``generation`` what Airflow was asked to do with it: it changes with a clear and stays
through retries. It is the run's start and ``max_tries``, as they are: ``max_tries - retries`` turns wrong when somebody
edits ``retries``, and ``clear_number`` also counts clears of other tasks.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Never changes: every key is derived from it.
NAMESPACE = uuid.UUID("6f0c3a2e-8d53-5c2b-9f5e-3f1f0f6f2f0a")

TASK_LABEL = "airflow_ti"
GENERATION_LABEL = "airflow_gen"
TRY_LABEL = "airflow_try"
INSTANCE_LABEL = "airflow_instance"
DAG_LABEL = "airflow_dag"
RUN_LABEL = "airflow_run"
TASK_ID_LABEL = "airflow_task"
MAP_INDEX_LABEL = "airflow_map_index"
#: Whether a task waits for the job; a job that nobody waits for is nobody's to cancel.
AWAITED_LABEL = "airflow_awaited"
#: What it says of a batch that a task waits for, and so of its jobs: they are canceled with it and not one by one.
AWAITED_BATCH = "batch"


@dataclass(frozen=True)
class TaskIdentity:
    """One try of one task instance."""

    instance: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    generation: str
    try_number: int

    @property
    def key(self) -> str:
        parts = (self.instance, self.dag_id, self.run_id, self.task_id, str(self.map_index))
        # The lengths keep two different lists of names from reading the same.
        return str(uuid.uuid5(NAMESPACE, "".join(f"{len(part)}:{part}" for part in parts)))

    def labels(self, *, awaited: bool) -> dict[str, str]:
        return {
            TASK_LABEL: self.key,
            GENERATION_LABEL: self.generation,
            TRY_LABEL: str(self.try_number),
            INSTANCE_LABEL: self.instance,
            DAG_LABEL: self.dag_id,
            RUN_LABEL: self.run_id,
            TASK_ID_LABEL: self.task_id,
            MAP_INDEX_LABEL: str(self.map_index),
            AWAITED_LABEL: "true" if awaited else "false",
        }


def identify(context: Mapping[str, Any], instance: str) -> TaskIdentity:
    """:param instance: see ``GatewayAddress.instance``"""
    ti = context["ti"]
    start = context["dag_run"].start_date
    return TaskIdentity(
        instance=instance,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=ti.map_index if ti.map_index is not None else -1,
        generation=f"{start.isoformat() if start else ''}|{ti.max_tries}",
        try_number=ti.try_number,
    )
