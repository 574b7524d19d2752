"""What Airflow reads about this package when it starts."""

from __future__ import annotations

from typing import Any

from airflow_provider_sluice.connection_form import declared_behaviour, declared_fields


def get_provider_info() -> dict[str, Any]:
    return {
        "package-name": "airflow-provider-sluice",
        "name": "Sluice",
        "description": "Runs commands on hosts through a Sluice gateway.",
        "hooks": [{"integration-name": "Sluice", "python-modules": ["airflow_provider_sluice.hook"]}],
        "operators": [
            {
                "integration-name": "Sluice",
                "python-modules": ["airflow_provider_sluice.operators", "airflow_provider_sluice.fanout_operator"],
            }
        ],
        "sensors": [{"integration-name": "Sluice", "python-modules": ["airflow_provider_sluice.sensor"]}],
        "triggers": [
            {
                "integration-name": "Sluice",
                "python-modules": ["airflow_provider_sluice.trigger", "airflow_provider_sluice.batch_trigger"],
            }
        ],
        "connection-types": [
            {
                "connection-type": "sluice",
                "hook-class-name": "airflow_provider_sluice.hook.AgentHook",
                "hook-name": "Sluice gateway",
                "conn-fields": declared_fields(),
                "ui-field-behaviour": declared_behaviour(),
            }
        ],
        "extra-links": ["airflow_provider_sluice.links.AgentJobLink"],
    }
