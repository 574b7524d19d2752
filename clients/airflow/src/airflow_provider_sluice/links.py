"""The link from a task to its job."""

from __future__ import annotations

from typing import Any

from airflow_provider_sluice.versions import BaseOperatorLink, XCom

#: The XComs that a task pushes right after its submit, before it waits.
JOB_ID_XCOM = "agent_job_id"
JOB_URL_XCOM = "agent_job_url"
BATCH_ID_XCOM = "agent_batch_id"
#: Pushed at the end of a batch, however that went.
BATCH_RESULT_XCOM = "agent_batch_result"


class AgentJobLink(BaseOperatorLink):
    name = "Agent job"

    @property
    def xcom_key(self) -> str:
        """Airflow 3 reads the address there itself, also while the task runs."""
        return JOB_URL_XCOM

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return XCom.get_value(key=JOB_URL_XCOM, ti_key=ti_key) or ""
