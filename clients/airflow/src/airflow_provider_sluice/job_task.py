"""
What the operators and the sensor have in common: a task that is about one job of a gateway. It waits in the worker or
in the triggerer, writes the output, finds its job again however it is called, and cancels it if it should.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_sluice.calls import JOB_ID_PREFIX, OVER, GatewayError, Job, adopt_job, cancel_job, read_job
from airflow_provider_sluice.client import GatewayClient, patiently
from airflow_provider_sluice.hook import AgentHook
from airflow_provider_sluice.identity import DAG_LABEL, RUN_LABEL
from airflow_provider_sluice.links import JOB_ID_XCOM, JOB_URL_XCOM
from airflow_provider_sluice.outcome import raise_unless_succeeded, result_of
from airflow_provider_sluice.output import OutputLog, read_result_output
from airflow_provider_sluice.task_state import triggerer_trouble
from airflow_provider_sluice.trigger import AgentJobTrigger
from airflow_provider_sluice.versions import AirflowException
from airflow_provider_sluice.worker_wait import look, wait_in_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How long a gateway that is away is asked for a job's end, or told of a cancel, in seconds.
READ_PATIENCE_SECONDS = 300.0
CANCEL_PATIENCE_SECONDS = 20.0
#: Between two looks for a triggerer that is alive, in seconds.
LOOK_AGAIN_SECONDS = 15.0
#: Airflow ends a deferral itself so long after the trigger should have, in seconds.
BACKSTOP_SECONDS = 60.0


class JobTask:
    """Beside an Airflow operator: what it does with its job. One for each time that Airflow calls the task."""

    def __init__(self, task: Any, context: Any, *, deferrable: bool | None) -> None:
        self.task = task
        self.context = context
        self.hook = AgentHook(task.agent_conn_id)
        self.log = task.log
        self.output = OutputLog(self._say)
        self.killed = False
        self._deferrable = deferrable
        self._said_trouble = False

    @contextmanager
    def client(self) -> Iterator[GatewayClient]:
        with self.hook.get_conn() as client:
            yield client

    def note(self, job: Job) -> None:
        """Pushes what others find the job by. Before any wait: the task may be killed in it."""
        ti = self.context["ti"]
        ti.xcom_push(key=JOB_ID_XCOM, value=job["id"])
        ti.xcom_push(key=JOB_URL_XCOM, value=self.page(job["id"]))

    def noted(self) -> str | None:
        """The job that this task has noted in this try."""
        ti = self.context["ti"]
        job_id: str | None = ti.xcom_pull(task_ids=ti.task_id, key=JOB_ID_XCOM, map_indexes=ti.map_index)
        return job_id

    def own_event(self, event: dict[str, Any] | None) -> dict[str, Any]:
        """
        The trigger's event if it is about the job of this try, else only which job that is. A clear can bring the event
        of the old try's trigger to the new one: a database like SQLite gives the ids of triggers out again.
        """
        event = event or {}
        own = self.noted() or event.get("job_id")
        if own == event.get("job_id"):
            return event
        self.log.info("An event of job %s, of an earlier try, is left out", event.get("job_id"))
        return {"job_id": own}

    def page(self, job_id: str) -> str:
        return f"{self.hook.address.url}/v1/jobs/{job_id}"

    def wait(
        self,
        client: GatewayClient,
        job: Job,
        deadline: float | None,
        reason: str,
        *,
        cancel_on_kill: bool,
        worker_seconds: float = 0,
    ) -> Job:
        """
        Waits in the worker for so long and then in the triggerer, if it may: then it does not return. While no
        triggerer is alive it goes on here, and looks for one again: what held them up for a moment must not cost a
        worker for days.

        :param deadline: when to give up, in seconds since 1970
        :returns: the job; it is over unless the deadline is
        """
        until = time.time() + worker_seconds if self.deferrable else float("inf")
        limit = float("inf") if deadline is None else deadline
        while not is_over(job):
            job = self.wait_here(client, job, min(until, limit))
            if is_over(job) or time.time() >= limit:
                break
            if self.waits_in_triggerer():
                self.defer(job, deadline, reason, cancel_on_kill=cancel_on_kill)
            until = time.time() + LOOK_AGAIN_SECONDS
        return job

    @property
    def deferrable(self) -> bool:
        """As the task says, else as the connection does."""
        return self.hook.address.deferrable if self._deferrable is None else self._deferrable

    def waits_in_triggerer(self) -> bool:
        """Says so in the log, once, where it cannot, though it should."""
        trouble = triggerer_trouble() if self.deferrable else None
        if trouble and not self._said_trouble:
            self._said_trouble = True
            self.log.warning("%s: this task waits in its worker until there is one", trouble)
        return self.deferrable and trouble is None

    def wait_here(self, client: GatewayClient, job: Job, until: float) -> Job:
        """:raises AirflowException: if the task was killed meanwhile"""
        job = wait_in_worker(client, job, until=until, output=self.output, tell=self.tell, stopped=lambda: self.killed)
        if self.killed:
            # Without it Airflow 3 would take the end of a canceled wait for a success.
            raise AirflowException(f"The task was killed while it waited for job {job['id']}")
        return job

    def defer(self, job: Job, deadline: float | None, reason: str, *, cancel_on_kill: bool) -> None:
        """Does not return."""
        trigger = AgentJobTrigger(
            job_id=job["id"],
            agent_conn_id=self.task.agent_conn_id,
            deadline=deadline,
            deadline_reason=reason,
            cancel_on_kill=cancel_on_kill,
            printed=self.output.printed,
        )
        backstop = None if deadline is None else max(deadline - time.time(), 0) + BACKSTOP_SECONDS
        self.task.defer(
            trigger=trigger,
            method_name="execute_complete",
            timeout=None if backstop is None else timedelta(seconds=backstop),
        )

    def read(self, client: GatewayClient, job_id: str) -> Job:
        """:raises AirflowException: if the gateway knows no such job"""
        try:
            job: Job = patiently(lambda: client.send(read_job(job_id)), READ_PATIENCE_SECONDS, self.tell)
        except GatewayError as error:
            if error.status == 404:
                raise AirflowException(
                    f"The gateway at {self.hook.address.url} knows no job {job_id}, or its key may not see it"
                ) from error
            raise
        return job

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

    def go_on(self, printed: dict[str, int] | None) -> None:
        """Writes output from where another process left off."""
        self.output = OutputLog(self._say, printed)

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

    def cancel(self, job_id: str, reason: str) -> None:
        """
        Never raises: it runs while something else goes wrong. With a client of its own, because a signal may have
        interrupted the one in use.
        """
        try:
            with self.client() as client:
                patiently(lambda: client.send(cancel_job(job_id, reason)), CANCEL_PATIENCE_SECONDS, self.tell)
            self.log.info("Asked the gateway to cancel job %s: %s", job_id, reason)
        except GatewayError as error:
            if error.code != "job_is_over":
                self.log.warning("Job %s could not be canceled: %s", job_id, error)
        except Exception:
            self.log.warning("Job %s could not be canceled", job_id, exc_info=True)

    def tell(self, line: str) -> None:
        self.log.warning("%s", line)

    def _say(self, line: str) -> None:
        self.log.info("%s", line)


def is_over(job: Job) -> bool:
    return job["state"] in OVER


def time_left_of_task(task: Any, context: Any) -> float | None:
    """Seconds until the task's ``execution_timeout``, which Airflow 3 does not keep while a task is deferred."""
    if task.execution_timeout is None:
        return None
    started: datetime = context["ti"].start_date or datetime.now(timezone.utc)
    return float((started + task.execution_timeout - datetime.now(timezone.utc)).total_seconds())
