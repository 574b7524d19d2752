"""
What this package takes from Airflow, under one name for 2.11 and for 3.

The two are told apart by their number, never by a failed import: a broken installation must say so, not quietly count
as the other version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow import __version__ as airflow_version
from airflow.triggers.base import BaseTrigger, TriggerEvent

#: Major and minor number, such as ``(2, 11)``.
AIRFLOW_VERSION = tuple(int(part) for part in airflow_version.split(".")[:2])
AIRFLOW_3 = AIRFLOW_VERSION >= (3, 0)
#: Whether Airflow tells a trigger that its task was killed (``BaseTrigger.on_kill``).
TRIGGERS_HEAR_OF_KILLS = AIRFLOW_VERSION >= (3, 3)

if TYPE_CHECKING or AIRFLOW_3:
    from airflow.sdk import BaseHook, BaseOperator, BaseOperatorLink, BaseSensorOperator, Connection
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowSkipException,
        TaskDeferralError,
    )
    from airflow.sdk.execution_time.xcom import XCom
else:
    from airflow.configuration import conf
    from airflow.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowSkipException,
        TaskDeferralError,
    )
    from airflow.hooks.base import BaseHook
    from airflow.models.baseoperator import BaseOperator
    from airflow.models.baseoperatorlink import BaseOperatorLink
    from airflow.models.connection import Connection
    from airflow.models.xcom import XCom
    from airflow.sensors.base import BaseSensorOperator

__all__ = [
    "AIRFLOW_3",
    "AIRFLOW_VERSION",
    "TRIGGERS_HEAR_OF_KILLS",
    "AirflowException",
    "AirflowFailException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "BaseHook",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "BaseTrigger",
    "Connection",
    "TaskDeferralError",
    "TriggerEvent",
    "XCom",
    "conf",
]
