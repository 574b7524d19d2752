"""
What a connection means: which gateway, with which key, trusted how far.

Pure: reads a connection that somebody else has fetched, and the configuration. Extra is parsed here and not by
``Connection.extra_dejson``, which on Airflow 3 calls the supervisor and can block a triggerer's event loop.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from airflow_provider_sluice.versions import AIRFLOW_3, AirflowException, Connection, conf


@dataclass(frozen=True)
class GatewayAddress:
    """One gateway as one API key sees it."""

    #: Without a slash at the end.
    url: str
    #: The gateway's API key. Never logged, never in a trigger's arguments.
    api_key: str
    verify_ssl: bool
    client_cert: str | None
    client_key: str | None
    #: Keeps two Airflows with the same DAGs apart.
    instance: str
    #: Whether tasks wait in the triggerer; an operator's own ``deferrable`` goes before it.
    deferrable: bool

    def __repr__(self) -> str:
        return f"<GatewayAddress {self.url}>"


def read_address(connection: Connection) -> GatewayAddress:
    """
    :raises AirflowException: if the connection names no gateway or no API key; it says which
    """
    conn_id = connection.conn_id
    extra = read_extra(connection)
    url = str(extra.get("gateway_url") or configured_url() or host_url(connection) or "").rstrip("/")
    if not url:
        raise AirflowException(
            f"Connection {conn_id!r} names no gateway: set gateway_url in its Extra, SLUICE_URL in the environment, "
            "or its host"
        )
    api_key = extra.get("agent_token")
    if not api_key:
        raise AirflowException(
            f"Connection {conn_id!r} has no agent_token in its Extra: it is the API key of the gateway at {url}"
        )
    return GatewayAddress(
        url=url,
        api_key=str(api_key),
        verify_ssl=read_switch(extra.get("verify_ssl"), otherwise=False),
        client_cert=extra.get("client_cert") or None,
        client_key=extra.get("client_key") or None,
        instance=str(extra.get("instance") or base_url())[:255],
        deferrable=read_switch(extra.get("deferrable"), otherwise=True),
    )


def read_extra(connection: Connection) -> dict[str, Any]:
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise AirflowException(f"The Extra of connection {connection.conn_id!r} is not a JSON object")
    return extra


def configured_url() -> str | None:
    """``SLUICE_URL``, else ``[sluice] gateway_url`` (``AIRFLOW__SLUICE__GATEWAY_URL``)."""
    url: str | None = os.environ.get("SLUICE_URL") or conf.get("sluice", "gateway_url", fallback=None)
    return url


def host_url(connection: Connection) -> str | None:
    """
    Schema, host and port. Comes last: the operators of old ignored the host, so it may be anything.
    """
    host = (connection.host or "").strip()
    if not host:
        return None
    if "://" in host:
        schema, host = host.split("://", 1)
    else:
        schema = connection.schema or "http"
    host = host.rstrip("/")
    return f"{schema}://{host}:{connection.port}" if connection.port else f"{schema}://{host}"


def base_url() -> str:
    """Where this Airflow's own pages are: what tells it from other Airflows unless Extra says ``instance``."""
    return str(conf.get("api" if AIRFLOW_3 else "webserver", "base_url", fallback=None) or "http://localhost:8080")


def read_switch(value: Any, *, otherwise: bool) -> bool:
    """A switch as people write it in Extra: ``false``, ``"False"``, ``0``."""
    if value is None or value == "":
        return otherwise
    if isinstance(value, str):
        return value.strip().lower() not in ("false", "no", "off", "0")
    return bool(value)
