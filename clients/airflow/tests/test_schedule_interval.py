from __future__ import annotations

from datetime import datetime

import pytest
from airflow import DAG
from client_under_test import find

import agent_operators  # noqa: F401  What it does to DAG is what is tested.

only_on_3 = pytest.mark.skipif(not find("AIRFLOW_3"), reason="Airflow 2 takes schedule_interval")


def dag(**schedule):
    return DAG(dag_id="a_dag", start_date=datetime(2025, 1, 1), catchup=False, **schedule)


def test_a_dag_with_schedule_is_as_it_was():
    assert dag(schedule="@daily").dag_id == "a_dag"


@only_on_3
def test_schedule_interval_is_an_error_that_names_the_change(monkeypatch):
    monkeypatch.delenv("SLUICE_SCHEDULE_INTERVAL_SHIM", raising=False)
    with pytest.raises(TypeError, match=r"calls schedule_interval schedule(.|\n)*ruff check --select AIR301 --fix"):
        dag(schedule_interval=None)


@only_on_3
def test_the_shim_takes_it_where_it_is_asked_for(monkeypatch):
    monkeypatch.setenv("SLUICE_SCHEDULE_INTERVAL_SHIM", "1")
    with pytest.warns(DeprecationWarning, match="AIR301"):
        assert dag(schedule_interval="@daily").schedule == "@daily"


@pytest.mark.skipif(find("AIRFLOW_3"), reason="Airflow 3 does not take it")
def test_airflow_2_takes_schedule_interval_as_ever():
    with pytest.warns(DeprecationWarning, match="schedule_interval"):
        assert dag(schedule_interval="@daily").schedule_interval == "@daily"
