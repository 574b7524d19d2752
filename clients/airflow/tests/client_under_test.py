"""Names of the client, whichever form of it is on the path, and what a task needs of Airflow to be called."""

from __future__ import annotations

import importlib.util
import pkgutil
import uuid
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

from airflow import __version__ as airflow_version

import agent_operators

PACKAGE = "airflow_provider_sluice"
AIRFLOW_3 = not airflow_version.startswith("2.")


def find(name: str) -> Any:
    """A class or function by its name, also one that DAGs do not import, or one of Airflow's own."""
    if hasattr(agent_operators, name):
        return getattr(agent_operators, name)
    modules = ["airflow.sdk.exceptions"] if AIRFLOW_3 else ["airflow.exceptions"]
    if importlib.util.find_spec(PACKAGE):
        package = importlib.import_module(PACKAGE)
        modules += [module.name for module in pkgutil.iter_modules(package.__path__, f"{PACKAGE}.")]
    for path in modules:
        if hasattr(importlib.import_module(path), name):
            return getattr(importlib.import_module(path), name)
    raise LookupError(name)


class TaskInstance:
    """What the operators read of Airflow's task instance, with XComs that are kept."""

    def __init__(self, task_id: str, *, run_id: str, try_number: int = 1, max_tries: int = 0) -> None:
        self.dag_id = "a_dag"
        self.run_id = run_id
        self.task_id = task_id
        self.map_index = -1
        self.try_number = try_number
        self.max_tries = max_tries
        self.start_date = datetime.now(timezone.utc)
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)


class Run:
    """A DAG run, whose tries of one task each get a context."""

    def __init__(self) -> None:
        self.run_id = f"run-{uuid.uuid4()}"
        self.start_date = datetime.now(timezone.utc)

    def context(self, task_id: str = "task", *, try_number: int = 1, max_tries: int = 2) -> dict[str, Any]:
        ti = TaskInstance(task_id, run_id=self.run_id, try_number=try_number, max_tries=max_tries)
        dag_run = SimpleNamespace(run_id=self.run_id, start_date=self.start_date)
        return {"ti": ti, "dag_run": dag_run, "run_id": self.run_id}
