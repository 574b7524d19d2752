"""
What all triggers do: wait for one thing of a gateway until it is over or their deadline is there, and cancel it if the
task is killed.

Their arguments are kept in Airflow's database and shown: no key is among them. They fire exactly one event, small,
which names what is waited for; whoever resumes reads it anew.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from airflow_provider_sluice.calls import TOO_LATE, Call, GatewayError, GatewayUnavailable
from airflow_provider_sluice.shared import Gateway, find_gateway
from airflow_provider_sluice.task_state import is_still_deferred
from airflow_provider_sluice.versions import TRIGGERS_HEAR_OF_KILLS, AirflowException, BaseTrigger
from airflow_provider_sluice.waiter import JobUnknown, start_apart

#: Each trigger asks for its own job or batch at least so often, in seconds.
ASK_SECONDS = 60.0
#: What is said while a host or the gateway cannot be reached is said again after so long, in seconds.
REMIND_SECONDS = 600.0

#: Keeps cancels that outlive their trigger from being collected.
CANCELS: set[asyncio.Task[Any]] = set()


class WaitingTrigger(BaseTrigger):
    """
    What the others share.

    :param what: what is waited for, as messages name it
    :param agent_conn_id: the connection that names the gateway
    :param deadline: when to give up, in seconds since 1970: another host may go on with this trigger
    :param deadline_reason: what the deadline is, for people
    :param cancel_on_kill: whether it is canceled when the task is killed
    """

    def __init__(
        self, what: str, agent_conn_id: str, deadline: float | None, deadline_reason: str, cancel_on_kill: bool
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.agent_conn_id = agent_conn_id
        self.deadline = deadline
        self.deadline_reason = deadline_reason
        self.cancel_on_kill = cancel_on_kill
        self._what = what
        self._gateway: Gateway | None = None
        #: Set before the event: what ends the trigger from there on is no kill.
        self._fired = False
        self._told: tuple[str, float] = ("", 0.0)

    async def on_kill(self) -> None:
        """Airflow 3.3 and later."""
        await self._cancel_if_killed()

    async def cleanup(self) -> None:
        """Runs at every end; up to Airflow 3.2 it is the only word of a kill."""
        if not TRIGGERS_HEAR_OF_KILLS:
            await self._cancel_if_killed()

    async def _ask(self, gateway: Gateway, seconds: float) -> dict[str, Any] | None:
        """
        Waits for so long at most.

        :returns: what to fire once it is over
        :raises JobUnknown: if the gateway does not know it
        """
        raise NotImplementedError

    def _cancel_call(self, reason: str) -> Call:
        raise NotImplementedError

    async def _end_or_deadline(self) -> dict[str, Any]:
        while True:
            rest = ASK_SECONDS if self.deadline is None else self.deadline - time.time()
            if rest <= 0:
                return {"status": "timeout", "reason": self.deadline_reason}
            try:
                self._gateway = gateway = await find_gateway(self.agent_conn_id)
                gateway.reconciler.keep_going()
                event = await self._ask(gateway, min(rest, ASK_SECONDS))
            except JobUnknown as error:
                return {"status": "unknown", "reason": str(error)}
            except AirflowException as error:
                # Neither a gateway that is away nor a connection that somebody edits ends it.
                self._tell(f"{error}; {self._what} runs on, and is waited for")
                await asyncio.sleep(min(5.0, max(rest, 0)))
                continue
            if event is not None:
                return event

    async def _cancel_if_killed(self) -> None:
        if self._fired or not self.cancel_on_kill or self._gateway is None:
            return
        # Airflow gives this a second: the work goes on without it, and is kept from being collected.
        work = start_apart(self._cancel_unless_waiting(self._gateway))
        CANCELS.add(work)
        work.add_done_callback(CANCELS.discard)
        await asyncio.shield(work)

    async def _cancel_unless_waiting(self, gateway: Gateway) -> None:
        try:
            if self.task_instance is None or await is_still_deferred(self.task_instance, self.trigger_id):
                return
            await gateway.client.send(self._cancel_call("The Airflow task was ended"))
        except GatewayUnavailable as error:
            self.log.warning("%s could not be canceled: %s", self._what, error)
        except GatewayError as error:
            if error.code not in TOO_LATE:
                self.log.warning("%s could not be canceled: %s", self._what, error)
        except Exception:
            # Not known to be killed: it is left alone.
            self.log.warning("Whether %s is still waited for cannot be told", self._what, exc_info=True)

    def _say(self, line: str) -> None:
        self.log.info("%s", line)

    def _tell(self, line: str) -> None:
        """The same thing only now and then."""
        told, at = self._told
        if line != told or time.monotonic() - at > REMIND_SECONDS:
            self._told = (line, time.monotonic())
            self.log.warning("%s", line)
