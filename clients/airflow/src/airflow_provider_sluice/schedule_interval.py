"""
``schedule_interval`` on Airflow 3, where a DAG no longer takes it: an error that says what to do, or, if it is asked
for, the old meaning.

It wraps the constructor of ``airflow.sdk.DAG``, for all DAG files that a process reads after this import. Airflow's own
error names neither the new word nor the tool that makes the change.
"""

from __future__ import annotations

import functools
import os
import warnings
from typing import Any

from airflow_provider_sluice.versions import AIRFLOW_3

SHIM_VARIABLE = "SLUICE_SCHEDULE_INTERVAL_SHIM"
ADVICE = (
    "Airflow 3 calls schedule_interval schedule: change that one word in the DAG file (Airflow 2.4 and later "
    "understand it too). `ruff check --select AIR301 --fix DAG_FILE` does it"
)


def explain_schedule_interval() -> None:
    """Does nothing on Airflow 2, nor the second time."""
    if not AIRFLOW_3:
        return
    from airflow.sdk import DAG

    original: Any = DAG.__init__
    if getattr(original, "explains_schedule_interval", False):
        return

    @functools.wraps(original)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        if "schedule_interval" in kwargs:
            if os.environ.get(SHIM_VARIABLE) != "1":
                raise TypeError(ADVICE)
            warnings.warn(ADVICE, DeprecationWarning, stacklevel=2)
            kwargs["schedule"] = kwargs.pop("schedule_interval")
        original(self, *args, **kwargs)

    construct.explains_schedule_interval = True  # type: ignore[attr-defined]
    DAG.__init__ = construct  # type: ignore[method-assign]
