"""What DAG files may import: the same names from the package, from ``agent_operators`` and from the single file."""

from __future__ import annotations

from airflow_provider_sluice.batch_trigger import AgentBatchTrigger
from airflow_provider_sluice.fanout_operator import AgentFanoutOperator
from airflow_provider_sluice.hook import AgentHook
from airflow_provider_sluice.links import AgentJobLink
from airflow_provider_sluice.operators import (
    AgentAsyncOperator,
    AgentCancelOperator,
    AgentSyncOperator,
    AgentTmuxOperator,
    AgentTmuxUnifiedOperator,
)
from airflow_provider_sluice.schedule_interval import explain_schedule_interval
from airflow_provider_sluice.sensor import AgentStatusSensor
from airflow_provider_sluice.trigger import AgentJobTrigger

__all__ = [
    "AgentAsyncOperator",
    "AgentBatchTrigger",
    "AgentCancelOperator",
    "AgentFanoutOperator",
    "AgentHook",
    "AgentJobLink",
    "AgentJobTrigger",
    "AgentStatusSensor",
    "AgentSyncOperator",
    "AgentTmuxOperator",
    "AgentTmuxUnifiedOperator",
]

explain_schedule_interval()
