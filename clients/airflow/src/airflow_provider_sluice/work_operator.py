"""
What all operators that start something do: submit or attach, wait, conclude; and end it however the task is ended.

Only this class defines what Airflow calls (``execute`` and the rest): on 2.11 an ``execute`` that calls that of its
base class is taken for a call from outside a task.
"""

from __future__ import annotations

import time
from typing import Any

from airflow_provider_sluice.calls import GatewayError
from airflow_provider_sluice.client import GatewayClient
from airflow_provider_sluice.identity import GENERATION_LABEL, TASK_LABEL, TaskIdentity, identify
from airflow_provider_sluice.links import AgentJobLink
from airflow_provider_sluice.versions import AIRFLOW_3, AirflowException, AirflowFailException, BaseOperator
from airflow_provider_sluice.work_task import Work, WorkTask, time_left_of_task


class AgentWorkOperator(BaseOperator):
    """What the others share. Not for DAGs."""

    operator_extra_links = (AgentJobLink(),)
    ui_color = "#e3ecf7"

    #: How long the task waits in its worker before it defers, in seconds.
    worker_seconds = 0.0

    def __init__(self, *, agent_conn_id: str, deferrable: bool | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.agent_conn_id = agent_conn_id
        self.deferrable = deferrable
        self.fire_and_forget = False
        self._work_task: Any = None
        self._work_id: str | None = None

    def execute(self, context: Any) -> dict[str, Any]:
        at = self._at_work(context)
        identity = identify(context, at.hook.address.instance)
        with at.client() as client:
            try:
                work = self._start(client, identity)
            except GatewayError as error:
                if error.status in (400, 413, 422):
                    # It would be refused again.
                    raise AirflowFailException(str(error)) from error
                raise
            self._work_id = work["id"]
            at.note(work)
            self._stop_if_killed(at, work["id"])
            if self.fire_and_forget:
                return {f"{at.kind}_id": work["id"], "status": "submitted"}
            return self._wait_and_conclude(at, client, work, self.worker_seconds)

    def execute_complete(self, context: Any, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Called by Airflow with the trigger's event."""
        at = self._at_work(context)
        event = at.own_event(event)
        work_id = event.get(f"{at.kind}_id") or self._find_work(at)
        if not work_id:
            raise AirflowException(f"The {at.kind} that this task waited for cannot be found")
        self._work_id = work_id
        if event.get("status") == "timeout":
            self._give_up(at, work_id, event.get("reason") or "its time was over")
        at.take_up(event)
        with at.client() as client:
            return self._wait_and_conclude(at, client, at.read(client, work_id), 0)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Airflow's own end of a deferral comes with nothing but an error."""
        if next_method == "__fail__":
            at = self._at_work(context)
            error = str((next_kwargs or {}).get("error", ""))
            ti = context["ti"]
            # Where a try is left, it attaches to the work, which has done nothing wrong.
            if "timeout" in error.lower() or ti.try_number > ti.max_tries:
                work_id = self._find_work(at)
                if work_id:
                    at.cancel(work_id, f"The Airflow task was ended: {error}")
        return super().resume_execution(next_method, next_kwargs, context)

    def pre_execute(self, context: Any) -> None:
        """Runs before everything else, so that ``on_kill`` knows whose work to look for."""
        super().pre_execute(context)
        self._at_work(context)

    def on_kill(self) -> None:
        at = self._work_task
        if at is None:
            return
        at.killed = True
        # On Airflow 3 this runs in a signal handler, where nothing may be asked of Airflow: the task's own code goes on
        # after it, and sees that it was killed.
        if self.fire_and_forget or (AIRFLOW_3 and not at.hook.knows_address):
            return
        work_id = self._work_id or self._find_work(at)
        if work_id:
            at.cancel(work_id, "The Airflow task was killed")

    def _begin(self, context: Any) -> WorkTask:
        raise NotImplementedError

    def _start(self, client: GatewayClient, identity: TaskIdentity) -> Work:
        """Submits, or attaches to what there is."""
        raise NotImplementedError

    def _conclude(self, at: Any, client: GatewayClient, work: Work) -> dict[str, Any]:
        """:param at: what ``_begin`` has made"""
        raise NotImplementedError

    def _limits(self) -> list[tuple[float, str]]:
        """When the task gives up of its own, in seconds from now, and what to say then."""
        return []

    def _at_work(self, context: Any) -> WorkTask:
        if self._work_task is None or self._work_task.context is not context:
            self._work_task = self._begin(context)
        at: WorkTask = self._work_task
        return at

    def _wait_and_conclude(
        self, at: WorkTask, client: GatewayClient, work: Work, worker_seconds: float
    ) -> dict[str, Any]:
        deadline, reason = self._deadline(at.context)
        work = at.wait(client, work, deadline, reason, cancel_on_kill=True, worker_seconds=worker_seconds)
        if not at.is_over(work):
            self._give_up(at, work["id"], reason)
        return self._conclude(at, client, work)

    def _deadline(self, context: Any) -> tuple[float | None, str]:
        """When the task gives up, in seconds since 1970, and what to say then."""
        limits = self._limits()
        left = time_left_of_task(self, context)
        if left is not None:
            limits.append((left, f"the task's execution_timeout of {self.execution_timeout} has passed"))
        if not limits:
            return None, ""
        seconds, reason = min(limits)
        return time.time() + seconds, reason

    def _give_up(self, at: WorkTask, work_id: str, reason: str) -> None:
        """:raises AirflowException: always"""
        at.cancel(work_id, f"The Airflow task gave up: {reason}")
        raise AirflowException(f"{at.kind.capitalize()} {work_id} was canceled: {reason} ({at.page(work_id)})")

    def _stop_if_killed(self, at: WorkTask, work_id: str) -> None:
        """Airflow 3 goes on after ``on_kill``, which may have come before there was anything to cancel."""
        if not at.killed:
            return
        if not self.fire_and_forget:
            at.cancel(work_id, "The Airflow task was killed")
        raise AirflowException(f"The task was killed while it submitted {at.kind} {work_id}")

    def _find_work(self, at: WorkTask) -> str | None:
        """By the XCom of this try, else by the labels of its generation: what may still run."""
        try:
            noted = at.noted()
            if noted:
                return str(noted)
            identity = identify(at.context, at.hook.address.instance)
            with at.client() as client:
                active = at.active(client, {TASK_LABEL: identity.key, GENERATION_LABEL: identity.generation})
            return active[0] if active else None
        except Exception:
            self.log.warning("The %s of this task cannot be looked for", at.kind, exc_info=True)
            return None

    def _inform(self, line: str) -> None:
        self.log.info("%s", line)
