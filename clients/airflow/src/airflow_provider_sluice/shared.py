"""
What the triggers of one event loop share: looked-up connections, one waiter and one client per gateway and key, and
the places for reading output.

Kept by loop and never at module level: ``airflow dags test`` makes a new loop for every deferral, and an object of
asyncio that outlives its loop breaks the next one.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from dataclasses import dataclass, field

from airflow_provider_sluice.address import GatewayAddress
from airflow_provider_sluice.client import AsyncGatewayClient
from airflow_provider_sluice.hook import find_address
from airflow_provider_sluice.reconcile import Reconciler
from airflow_provider_sluice.waiter import Waiter, start_apart

#: How long a connection is taken as it was looked up, in seconds.
CONNECTION_SECONDS = 60.0
#: How many outputs are read at once.
OUTPUT_READERS = 8


class Gateway:
    """One gateway with one key, for all triggers of a loop."""

    def __init__(self, address: GatewayAddress) -> None:
        self.address = address
        self.client = AsyncGatewayClient(address)
        self.waiter = Waiter(self.client)
        self.reconciler = Reconciler(self.client)


@dataclass
class LoopShare:
    gateways: dict[GatewayAddress, Gateway] = field(default_factory=dict)
    lookups: dict[str, tuple[float, asyncio.Task[GatewayAddress]]] = field(default_factory=dict)
    output_places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(OUTPUT_READERS))


SHARES: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopShare] = weakref.WeakKeyDictionary()


def loop_share() -> LoopShare:
    return SHARES.setdefault(asyncio.get_running_loop(), LoopShare())


async def find_gateway(agent_conn_id: str) -> Gateway:
    """
    The gateway that a connection names by now. Many tasks that start at once make one lookup.

    :raises AirflowException: if the connection names none
    """
    share = loop_share()
    looked_up_at, lookup = share.lookups.get(agent_conn_id, (0.0, None))
    too_old = time.monotonic() - looked_up_at > CONNECTION_SECONDS
    if lookup is None or too_old or (lookup.done() and (lookup.cancelled() or lookup.exception())):
        lookup = start_apart(find_address(agent_conn_id))
        share.lookups[agent_conn_id] = (time.monotonic(), lookup)
    # Not awaited itself: whoever is cancelled here must not cancel the lookup of all others.
    await asyncio.wait([lookup])
    address = lookup.result()
    if address not in share.gateways:
        share.gateways[address] = Gateway(address)
    return share.gateways[address]
