"""The module that DAG files import from, and by whose name triggers are kept in Airflow's database."""

from airflow_provider_sluice.public import (
    AgentAsyncOperator,
    AgentBatchTrigger,
    AgentCancelOperator,
    AgentFanoutOperator,
    AgentHook,
    AgentJobLink,
    AgentJobTrigger,
    AgentStatusSensor,
    AgentSyncOperator,
    AgentTmuxOperator,
    AgentTmuxUnifiedOperator,
)

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
