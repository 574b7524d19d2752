"""
What the operators and the sensor have in common that are about one job: its output goes into the task's log, and it
may be one that somebody submitted to an agent.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from airflow_provider_sluice.calls import (
    JOB_ID_PREFIX,
    OVER,
    Call,
    Job,
    adopt_job,
    cancel_job,
    job_path,
    read_job,
)
from airflow_provider_sluice.client import GatewayClient, patiently
from airflow_provider_sluice.identity import DAG_LABEL, RUN_LABEL
from airflow_provider_sluice.links import JOB_ID_XCOM
from airflow_provider_sluice.outcome import raise_unless_succeeded, result_of
from airflow_provider_sluice.output import OutputLog, read_result_output
from airflow_provider_sluice.trigger import AgentJobTrigger
from airflow_provider_sluice.versions import AirflowException
from airflow_provider_sluice.work_task import READ_PATIENCE_SECONDS, WorkTask
from airflow_provider_sluice.worker_wait import look, wait_in_worker


class JobTask(WorkTask):
    kind = "job"
    id_xcom = JOB_ID_XCOM

    def __init__(self, task: Any, context: Any, *, deferrable: bool | None) -> None:
        super().__init__(task, context, deferrable=deferrable)
        self.output = OutputLog(self._say)

    def is_over(self, work: Job) -> bool:
        return is_over(work)

    def path(self, work_id: str) -> str:
        return job_path(work_id)

    def read_call(self, work_id: str) -> Call:
        return read_job(work_id)

    def cancel_call(self, work_id: str, reason: str) -> Call:
        return cancel_job(work_id, reason)

    def active(self, client: GatewayClient, labels: dict[str, str]) -> list[str]:
        return [job["id"] for job in client.list(labels) if not is_over(job)]

    def trigger(self, work: Job, deadline: float | None, reason: str, *, cancel_on_kill: bool) -> AgentJobTrigger:
        return AgentJobTrigger(
            job_id=work["id"],
            agent_conn_id=self.task.agent_conn_id,
            deadline=deadline,
            deadline_reason=reason,
            cancel_on_kill=cancel_on_kill,
            printed=self.output.printed,
        )

    def wait_here(self, client: GatewayClient, work: Job, until: float) -> Job:
        """See ``WorkTask``."""
        job = wait_in_worker(client, work, until=until, output=self.output, tell=self.tell, stopped=lambda: self.killed)
        if self.killed:
            # Without it Airflow 3 would take the end of a canceled wait for a success.
            raise AirflowException(f"The task was killed while it waited for job {job['id']}")
        return job

    def take_up(self, event: dict[str, Any]) -> None:
        self.output = OutputLog(self._say, event.get("printed"))

    def find(self, client: GatewayClient, job_id: str, target_server: str) -> Job:
        """
        A job by the gateway's id or, where somebody submitted it to the agent of ``target_server`` itself, by the
        agent's: the gateway then follows it from here on.

        :raises AirflowException: if neither knows it
        """
        if job_id.startswith(JOB_ID_PREFIX):
            return self.read(client, job_id)
        ti = self.context["ti"]
        labels = {DAG_LABEL: ti.dag_id, RUN_LABEL: ti.run_id}
        adopt = adopt_job(target_server, job_id, labels)
        job: Job = patiently(lambda: client.send(adopt), READ_PATIENCE_SECONDS, self.tell)
        self.log.info("Job %s of the agent on %s is job %s of the gateway", job_id, target_server, job["id"])
        return job

    def conclude(self, client: GatewayClient, job: Job, skip_on_exit_code: Collection[int]) -> dict[str, Any]:
        """
        The task's result.

        :raises AirflowException: or one of its kinds, if the job did not succeed
        """
        look(client, job["id"], self.output)
        self.output.end()
        output = read_result_output(client, job)
        raise_unless_succeeded(job, output["stderr"], skip_on_exit_code=skip_on_exit_code, page=self.page(job["id"]))
        self.log.info("Job %s succeeded", job["id"])
        return result_of(job, output)


def is_over(job: Job) -> bool:
    return job["state"] in OVER
