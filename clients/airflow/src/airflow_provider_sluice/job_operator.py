"""
What all operators that start a job do: submit or attach, wait, conclude; and end the job however the task is ended.

Only this class defines what Airflow calls (``execute`` and the rest): on 2.11 an ``execute`` that calls that of its
base class is taken for a call from outside a task.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

from airflow_provider_sluice.calls import OVER, GatewayError, Job
from airflow_provider_sluice.client import GatewayClient
from airflow_provider_sluice.identity import GENERATION_LABEL, TASK_LABEL, identify
from airflow_provider_sluice.job_task import JobTask, is_over, time_left_of_task
from airflow_provider_sluice.links import AgentJobLink
from airflow_provider_sluice.start import start_or_attach
from airflow_provider_sluice.versions import AIRFLOW_3, AirflowException, AirflowFailException, BaseOperator

#: The gateway ends a job at its timeout, and says how it ended; a task gives up on its own only so long after it.
GRACE_SECONDS = 15.0


class AgentJobOperator(BaseOperator):
    """What the others share. Not for DAGs."""

    template_fields: Sequence[str] = ("target_server", "command", "job_user")
    operator_extra_links = (AgentJobLink(),)
    ui_color = "#e3ecf7"

    #: How the job runs on its host: ``mode`` of a submit.
    job_mode = "async"
    #: How long the task waits in its worker before it defers, in seconds.
    worker_seconds = 0.0

    def __init__(
        self,
        *,
        target_server: str,
        command: str,
        job_user: str | None,
        agent_conn_id: str,
        timeout_seconds: int | None,
        poll_interval: int | None,
        deferrable: bool | None,
        skip_on_exit_code: int | Collection[int] | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target_server = target_server
        self.command = command
        self.job_user = job_user
        self.agent_conn_id = agent_conn_id
        self.timeout_seconds = timeout_seconds
        self.poll_interval = poll_interval
        self.deferrable = deferrable
        self.skip_on_exit_code = exit_codes(skip_on_exit_code)
        self.fire_and_forget = False
        self._job_task: JobTask | None = None
        self._job_id: str | None = None

    def execute(self, context: Any) -> dict[str, Any]:
        at = self._at_work(context)
        identity = identify(context, at.hook.address.instance)
        with at.client() as client:
            try:
                job = start_or_attach(
                    client, identity, self._order(), awaited=not self.fire_and_forget, tell=self._inform
                )
            except GatewayError as error:
                if error.status in (400, 413, 422):
                    # It would be refused again.
                    raise AirflowFailException(str(error)) from error
                raise
            self._job_id = job["id"]
            at.note(job)
            self._stop_if_killed(at, job["id"])
            if self.fire_and_forget:
                return {"job_id": job["id"], "status": "submitted"}
            return self._wait_and_conclude(at, client, job, self.worker_seconds)

    def execute_complete(self, context: Any, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Called by Airflow with the trigger's event."""
        at = self._at_work(context)
        event = at.own_event(event)
        job_id = event.get("job_id") or self._find_job(at)
        if not job_id:
            raise AirflowException("The job that this task waited for cannot be found")
        self._job_id = job_id
        if event.get("status") == "timeout":
            self._give_up(at, job_id, event.get("reason") or "its time was over")
        at.go_on(event.get("printed"))
        with at.client() as client:
            return self._wait_and_conclude(at, client, at.read(client, job_id), 0)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Airflow's own end of a deferral comes with nothing but an error."""
        if next_method == "__fail__":
            at = self._at_work(context)
            error = str((next_kwargs or {}).get("error", ""))
            ti = context["ti"]
            # Where a try is left, it attaches to the job, which has done nothing wrong.
            if "timeout" in error.lower() or ti.try_number > ti.max_tries:
                job_id = self._find_job(at)
                if job_id:
                    at.cancel(job_id, f"The Airflow task was ended: {error}")
        return super().resume_execution(next_method, next_kwargs, context)

    def pre_execute(self, context: Any) -> None:
        """Runs before everything else, so that ``on_kill`` knows whose job to look for."""
        super().pre_execute(context)
        self._at_work(context)

    def on_kill(self) -> None:
        at = self._job_task
        if at is None:
            return
        at.killed = True
        # On Airflow 3 this runs in a signal handler, where nothing may be asked of Airflow: the task's own code goes on
        # after it, and sees that it was killed.
        if self.fire_and_forget or (AIRFLOW_3 and not at.hook.knows_address):
            return
        job_id = self._job_id or self._find_job(at)
        if job_id:
            at.cancel(job_id, "The Airflow task was killed")

    def _at_work(self, context: Any) -> JobTask:
        if self._job_task is None or self._job_task.context is not context:
            self._job_task = JobTask(self, context, deferrable=self.deferrable)
        return self._job_task

    def _wait_and_conclude(self, at: JobTask, client: GatewayClient, job: Job, worker_seconds: float) -> dict[str, Any]:
        deadline, reason = self._deadline(at.context)
        job = at.wait(client, job, deadline, reason, cancel_on_kill=True, worker_seconds=worker_seconds)
        if not is_over(job):
            self._give_up(at, job["id"], reason)
        return at.conclude(client, job, self.skip_on_exit_code)

    def _order(self) -> dict[str, Any]:
        order: dict[str, Any] = {
            "target_server": self.target_server,
            "command": self.command,
            "mode": self.job_mode,
            "job_user": self.job_user or None,
        }
        if self.timeout_seconds is not None:
            order["timeout_seconds"] = int(self.timeout_seconds)
            if not self.fire_and_forget:
                # A host that is down ends the task no later than a command that hangs.
                order["start_deadline_seconds"] = int(self.timeout_seconds)
        if self.poll_interval is not None:
            order["poll_interval"] = max(1, int(self.poll_interval))
        return order

    def _deadline(self, context: Any) -> tuple[float | None, str]:
        """When the task gives up, in seconds since 1970, and what to say then."""
        limits: list[tuple[float, str]] = []
        if self.timeout_seconds is not None:
            own = self.timeout_seconds + GRACE_SECONDS
            limits.append((own, f"it was not over {self.timeout_seconds} s after its submit"))
        left = time_left_of_task(self, context)
        if left is not None:
            limits.append((left, f"the task's execution_timeout of {self.execution_timeout} has passed"))
        if not limits:
            return None, ""
        seconds, reason = min(limits)
        return time.time() + seconds, reason

    def _give_up(self, at: JobTask, job_id: str, reason: str) -> None:
        """:raises AirflowException: always"""
        at.cancel(job_id, f"The Airflow task gave up: {reason}")
        raise AirflowException(f"Job {job_id} was canceled: {reason} ({at.page(job_id)})")

    def _stop_if_killed(self, at: JobTask, job_id: str) -> None:
        """Airflow 3 goes on after ``on_kill``, which may have come before there was a job to cancel."""
        if not at.killed:
            return
        if not self.fire_and_forget:
            at.cancel(job_id, "The Airflow task was killed")
        raise AirflowException(f"The task was killed while it submitted job {job_id}")

    def _find_job(self, at: JobTask) -> str | None:
        """By the XCom of this try, else by the labels of its generation: a job that may still run."""
        try:
            noted = at.noted()
            if noted:
                return str(noted)
            identity = identify(at.context, at.hook.address.instance)
            with at.client() as client:
                labels = {TASK_LABEL: identity.key, GENERATION_LABEL: identity.generation}
                active = [job["id"] for job in client.list(labels) if job["state"] not in OVER]
            return active[0] if active else None
        except Exception:
            self.log.warning("The job of this task cannot be looked for", exc_info=True)
            return None

    def _inform(self, line: str) -> None:
        self.log.info("%s", line)


def exit_codes(codes: int | Collection[int] | None) -> frozenset[int]:
    if codes is None:
        return frozenset()
    return frozenset({codes} if isinstance(codes, int) else codes)
