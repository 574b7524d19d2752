"""The hook: a connection of Airflow as a client of the gateway that it names."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from asgiref.sync import sync_to_async

from airflow_provider_sluice.address import GatewayAddress, read_address
from airflow_provider_sluice.calls import Call
from airflow_provider_sluice.client import GatewayClient
from airflow_provider_sluice.connection_form import HIDDEN_FIELDS, RELABELED_FIELDS, form_widgets
from airflow_provider_sluice.versions import AIRFLOW_3, AirflowException, BaseHook

DEFAULT_CONNECTION = "agent_default"


class AgentHook(BaseHook):
    """
    A gateway by the id of its connection. Any type of connection will do (HTTP, generic); the type ``sluice`` has a
    form of its own where this package is installed.

    :param agent_conn_id: the connection
    """

    conn_name_attr = "agent_conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = "sluice"
    hook_name = "Sluice gateway"

    def __init__(self, agent_conn_id: str = DEFAULT_CONNECTION) -> None:
        super().__init__()
        self.agent_conn_id = agent_conn_id

    @cached_property
    def address(self) -> GatewayAddress:
        """
        :raises AirflowException: if the connection is not there, or names no gateway or no key
        """
        address = read_address(self.get_connection(self.agent_conn_id))
        if address.url.startswith("https:") and not address.verify_ssl:
            self.log.warning(
                "The certificate of %s is not verified: set verify_ssl in the Extra of connection %r",
                address.url,
                self.agent_conn_id,
            )
        return address

    @property
    def knows_address(self) -> bool:
        """Whether ``address`` can be had without asking Airflow."""
        return "address" in self.__dict__

    def get_conn(self) -> GatewayClient:
        return GatewayClient(self.address)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the connection names a gateway that is there and takes the key; if not, what is wrong."""
        try:
            with self.get_conn() as client:
                client.send(Call("GET", "/v1/jobs", params={"page_size": 1}))
        except AirflowException as error:
            return False, str(error)
        return True, f"The gateway at {self.address.url} answers"

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        return form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        return {"hidden_fields": HIDDEN_FIELDS, "relabeling": RELABELED_FIELDS}


async def find_address(agent_conn_id: str) -> GatewayAddress:
    """For triggers: looks the connection up without blocking their event loop."""
    if AIRFLOW_3:
        return read_address(await BaseHook.aget_connection(agent_conn_id))
    return read_address(await sync_to_async(BaseHook.get_connection)(agent_conn_id))
