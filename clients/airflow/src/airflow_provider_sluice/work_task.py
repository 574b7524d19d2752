"""
What all tasks have in common that are about something at a gateway, a job or a batch ("work"): they wait for it in the
worker or in the triggerer, find it again however they are called, and cancel it if they should.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_sluice.calls import TOO_LATE, Call, GatewayError
from airflow_provider_sluice.client import GatewayClient, patiently
from airflow_provider_sluice.hook import AgentHook
from airflow_provider_sluice.links import JOB_URL_XCOM
from airflow_provider_sluice.task_state import triggerer_trouble
from airflow_provider_sluice.versions import AirflowException, BaseTrigger

if TYPE_CHECKING:
    from collections.abc import Iterator

Work = dict[str, Any]

#: How long a gateway that is away is asked for the end of work, or told of a cancel, in seconds.
READ_PATIENCE_SECONDS = 300.0
CANCEL_PATIENCE_SECONDS = 20.0
#: Between two looks for a triggerer that is alive, in seconds.
LOOK_AGAIN_SECONDS = 15.0
#: Airflow ends a deferral itself so long after the trigger should have, in seconds.
BACKSTOP_SECONDS = 60.0


class WorkTask:
    """Beside an Airflow operator: what it does with its work. One for each time that Airflow calls the task."""

    #: ``job`` or ``batch``: how messages name it, and what ``_id`` follows in an event.
    kind = ""
    #: The XCom that names it.
    id_xcom = ""

    def __init__(self, task: Any, context: Any, *, deferrable: bool | None) -> None:
        self.task = task
        self.context = context
        self.hook = AgentHook(task.agent_conn_id)
        self.log = task.log
        self.killed = False
        self._deferrable = deferrable
        self._said_trouble = False

    def is_over(self, work: Work) -> bool:
        raise NotImplementedError

    def path(self, work_id: str) -> str:
        raise NotImplementedError

    def read_call(self, work_id: str) -> Call:
        raise NotImplementedError

    def cancel_call(self, work_id: str, reason: str) -> Call:
        raise NotImplementedError

    def active(self, client: GatewayClient, labels: dict[str, str]) -> list[str]:
        """The ids of what may still be at work of what has these labels, the newest first."""
        raise NotImplementedError

    def trigger(self, work: Work, deadline: float | None, reason: str, *, cancel_on_kill: bool) -> BaseTrigger:
        raise NotImplementedError

    def wait_here(self, client: GatewayClient, work: Work, until: float) -> Work:
        """
        :param until: when to stop waiting, in seconds since 1970
        :raises AirflowException: if the task was killed meanwhile
        """
        raise NotImplementedError

    def take_up(self, event: dict[str, Any]) -> None:
        """Goes on where the trigger of this event has left off."""

    @contextmanager
    def client(self) -> Iterator[GatewayClient]:
        with self.hook.get_conn() as client:
            yield client

    def note(self, work: Work) -> None:
        """Pushes what others find it by. Before any wait: the task may be killed in it."""
        ti = self.context["ti"]
        ti.xcom_push(key=self.id_xcom, value=work["id"])
        ti.xcom_push(key=JOB_URL_XCOM, value=self.page(work["id"]))

    def noted(self) -> str | None:
        """What this task has noted in this try."""
        ti = self.context["ti"]
        work_id: str | None = ti.xcom_pull(task_ids=ti.task_id, key=self.id_xcom, map_indexes=ti.map_index)
        return work_id

    def own_event(self, event: dict[str, Any] | None) -> dict[str, Any]:
        """
        The trigger's event if it is about the work of this try, else only which that is. A clear can bring the event
        of the old try's trigger to the new one: a database like SQLite gives the ids of triggers out again.
        """
        event = event or {}
        id_name = f"{self.kind}_id"
        own = self.noted() or event.get(id_name)
        if own == event.get(id_name):
            return event
        self.log.info("An event of %s %s, of an earlier try, is left out", self.kind, event.get(id_name))
        return {id_name: own}

    def page(self, work_id: str) -> str:
        return f"{self.hook.address.url}{self.path(work_id)}"

    def wait(
        self,
        client: GatewayClient,
        work: Work,
        deadline: float | None,
        reason: str,
        *,
        cancel_on_kill: bool,
        worker_seconds: float = 0,
    ) -> Work:
        """
        Waits in the worker for so long and then in the triggerer, if it may: then it does not return. While no
        triggerer is alive it goes on here, and looks for one again: what held them up for a moment must not cost a
        worker for days.

        :param deadline: when to give up, in seconds since 1970
        :returns: what was waited for; it is over unless the deadline is
        """
        until = time.time() + worker_seconds if self.deferrable else float("inf")
        limit = float("inf") if deadline is None else deadline
        while not self.is_over(work):
            work = self.wait_here(client, work, min(until, limit))
            if self.is_over(work) or time.time() >= limit:
                break
            if self.waits_in_triggerer():
                self.defer(work, deadline, reason, cancel_on_kill=cancel_on_kill)
            until = time.time() + LOOK_AGAIN_SECONDS
        return work

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

    def defer(self, work: Work, deadline: float | None, reason: str, *, cancel_on_kill: bool) -> None:
        """Does not return."""
        backstop = None if deadline is None else max(deadline - time.time(), 0) + BACKSTOP_SECONDS
        self.task.defer(
            trigger=self.trigger(work, deadline, reason, cancel_on_kill=cancel_on_kill),
            method_name="execute_complete",
            timeout=None if backstop is None else timedelta(seconds=backstop),
        )

    def read(self, client: GatewayClient, work_id: str) -> Work:
        """:raises AirflowException: if the gateway knows none of this id"""
        try:
            work: Work = patiently(lambda: client.send(self.read_call(work_id)), READ_PATIENCE_SECONDS, self.tell)
        except GatewayError as error:
            if error.status == 404:
                raise AirflowException(
                    f"The gateway at {self.hook.address.url} knows no {self.kind} {work_id}, or its key may not see it"
                ) from error
            raise
        return work

    def cancel(self, work_id: str, reason: str) -> None:
        """
        Never raises: it runs while something else goes wrong. With a client of its own, because a signal may have
        interrupted the one in use.
        """
        name = f"{self.kind} {work_id}"
        try:
            with self.client() as client:
                call = self.cancel_call(work_id, reason)
                patiently(lambda: client.send(call), CANCEL_PATIENCE_SECONDS, self.tell)
            self.log.info("Asked the gateway to cancel %s: %s", name, reason)
        except GatewayError as error:
            if error.code not in TOO_LATE:
                self.log.warning("The gateway does not cancel %s: %s", name, error)
        except Exception:
            self.log.warning("The gateway could not be asked to cancel %s", name, exc_info=True)

    def tell(self, line: str) -> None:
        self.log.warning("%s", line)

    def _say(self, line: str) -> None:
        self.log.info("%s", line)


def time_left_of_task(task: Any, context: Any) -> float | None:
    """Seconds until the task's ``execution_timeout``, which Airflow 3 does not keep while a task is deferred."""
    if task.execution_timeout is None:
        return None
    started: datetime = context["ti"].start_date or datetime.now(timezone.utc)
    return float((started + task.execution_timeout - datetime.now(timezone.utc)).total_seconds())
