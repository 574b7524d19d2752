"""The sensor: waits for a job that another task has started. It never cancels it."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

from airflow_provider_sluice.hook import DEFAULT_CONNECTION
from airflow_provider_sluice.job_operator import exit_codes
from airflow_provider_sluice.job_task import JobTask, is_over
from airflow_provider_sluice.links import AgentJobLink
from airflow_provider_sluice.versions import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
)


class AgentStatusSensor(BaseSensorOperator):
    """
    Waits until a job is over; fails if it did not succeed. Returns what ``AgentAsyncOperator`` returns.

    It counts its ``timeout`` itself and raises ``AirflowSensorTimeout`` on every version, so that a sensor in a
    triggerer ends like one that pokes: without another try.

    :param target_server: as for the job
    :param job_id: the job; also one that was submitted to the agent of ``target_server`` itself
    :param agent_conn_id: the connection that names the gateway
    :param deferrable: whether the task leaves its worker; by default as the connection says, else yes. Without it
        ``mode`` decides: ``poke`` holds one long-poll at a time, ``reschedule`` looks every ``poke_interval``
    :param skip_on_exit_code: the exit codes that skip the task instead of failing it
    """

    template_fields: Sequence[str] = ("target_server", "job_id")
    operator_extra_links = (AgentJobLink(),)
    ui_color = "#e6f1f2"

    def __init__(
        self,
        *,
        target_server: str,
        job_id: str,
        agent_conn_id: str = DEFAULT_CONNECTION,
        deferrable: bool | None = None,
        skip_on_exit_code: int | Collection[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target_server = target_server
        self.job_id = job_id
        self.agent_conn_id = agent_conn_id
        self.deferrable = deferrable
        self.skip_on_exit_code = exit_codes(skip_on_exit_code)
        self._job_task: JobTask | None = None

    def execute(self, context: Any) -> Any:
        at = self._at_work(context)
        if self.mode == "reschedule" and not at.waits_in_triggerer():
            return super().execute(context)
        try:
            deadline = time.time() + float(self.timeout)
            with at.client() as client:
                job = at.find(client, self.job_id, self.target_server)
                at.note(job)
                job = at.wait(client, job, deadline, "", cancel_on_kill=False)
                if not is_over(job):
                    raise self._too_late()
                return at.conclude(client, job, self.skip_on_exit_code)
        except AirflowSkipException:
            raise
        except AirflowException as error:
            if self._is_soft():
                raise AirflowSkipException(str(error)) from error
            raise

    def poke(self, context: Any) -> bool:
        """In the mode ``reschedule``."""
        at = self._at_work(context)
        with at.client() as client:
            job = at.find(client, self.job_id, self.target_server)
            if not is_over(job):
                return False
            at.conclude(client, job, self.skip_on_exit_code)
            return True

    def execute_complete(self, context: Any, event: dict[str, Any] | None = None) -> Any:
        """Called by Airflow with the trigger's event; what it raises, ``resume_execution`` softens."""
        at = self._at_work(context)
        event = at.own_event(event)
        if event.get("status") == "timeout":
            raise self._too_late()
        at.take_up(event)
        with at.client() as client:
            job = at.find(client, event.get("job_id") or self.job_id, self.target_server)
            job = at.wait(client, job, time.time() + float(self.timeout), "", cancel_on_kill=False)
            if not is_over(job):
                raise self._too_late()
            return at.conclude(client, job, self.skip_on_exit_code)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Airflow 2.11 ends a deferral that took too long with an error that allows another try."""
        error = str((next_kwargs or {}).get("error", ""))
        if next_method == "__fail__" and "timeout" in error.lower():
            raise AirflowSkipException(error) if self._is_soft() else self._too_late()
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """The job is not the sensor's: it only stops waiting."""
        if self._job_task is not None:
            self._job_task.killed = True

    def _at_work(self, context: Any) -> JobTask:
        if self._job_task is None or self._job_task.context is not context:
            self._job_task = JobTask(self, context, deferrable=self.deferrable)
        return self._job_task

    def _too_late(self) -> AirflowSensorTimeout:
        return AirflowSensorTimeout(f"Job {self.job_id} was not over after {self.timeout} s; it runs on")

    def _is_soft(self) -> bool:
        return bool(self.soft_fail or getattr(self, "never_fail", False))
