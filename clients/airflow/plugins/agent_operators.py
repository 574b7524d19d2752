"""
The Airflow client of Sluice, 0.1.0, as one file: put it into Airflow's plugins folder, beside an empty __init__.py.
It needs nothing that Airflow does not bring. Where the package airflow-provider-sluice is installed, this file is only
another name for that.

Made by clients/airflow/script/build_single_file.py from the package: change that, not this.
"""

# ruff: noqa

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("airflow_provider_sluice") is not None:
    from airflow_provider_sluice.public import (
        AgentAsyncOperator,
        AgentCancelOperator,
        AgentHook,
        AgentJobLink,
        AgentJobTrigger,
        AgentStatusSensor,
        AgentSyncOperator,
        AgentTmuxOperator,
        AgentTmuxUnifiedOperator,
    )
else:
    import asyncio
    import contextvars
    import functools
    import httpx
    import json
    import logging
    import os
    import ssl
    import time
    import uuid
    import warnings
    import weakref
    from airflow import __version__ as airflow_version
    from airflow.triggers.base import BaseTrigger, TriggerEvent
    from asgiref.sync import sync_to_async
    from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
    from contextlib import contextmanager
    from dataclasses import dataclass, field
    from datetime import datetime, timedelta, timezone
    from functools import cached_property, partial
    from typing import Any, TYPE_CHECKING, TypeVar
    from urllib.parse import quote


    # versions: What this package takes from Airflow, under one name for 2.11 and for 3.
    #
    # The two are told apart by their number, never by a failed import: a broken installation must say so, not quietly count
    # as the other version.


    #: Major and minor number, such as ``(2, 11)``.
    AIRFLOW_VERSION = tuple(int(part) for part in airflow_version.split(".")[:2])
    AIRFLOW_3 = AIRFLOW_VERSION >= (3, 0)
    #: Whether Airflow tells a trigger that its task was killed (``BaseTrigger.on_kill``).
    TRIGGERS_HEAR_OF_KILLS = AIRFLOW_VERSION >= (3, 3)

    if TYPE_CHECKING or AIRFLOW_3:
        from airflow.sdk import BaseHook, BaseOperator, BaseOperatorLink, BaseSensorOperator, Connection
        from airflow.sdk.configuration import conf
        from airflow.sdk.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowSensorTimeout,
            AirflowSkipException,
            TaskDeferralError,
        )
        from airflow.sdk.execution_time.xcom import XCom
    else:
        from airflow.configuration import conf
        from airflow.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowSensorTimeout,
            AirflowSkipException,
            TaskDeferralError,
        )
        from airflow.hooks.base import BaseHook
        from airflow.models.baseoperator import BaseOperator
        from airflow.models.baseoperatorlink import BaseOperatorLink
        from airflow.models.connection import Connection
        from airflow.models.xcom import XCom
        from airflow.sensors.base import BaseSensorOperator


    # address: What a connection means: which gateway, with which key, trusted how far.
    #
    # Pure: reads a connection that somebody else has fetched, and the configuration. Extra is parsed here and not by
    # ``Connection.extra_dejson``, which on Airflow 3 calls the supervisor and can block a triggerer's event loop.


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


    # calls: The gateway's HTTP API as this package uses it: what is sent, what an answer means. No socket here: the two clients,
    # one that blocks and one that does not, send the same calls.


    Job = dict[str, Any]

    #: The longest that the gateway holds a request, in seconds.
    LONGEST_HOLD = 60
    #: How the gateway's own ids of jobs begin; all others are an agent's.
    JOB_ID_PREFIX = "job_"
    #: States in which a job is over.
    OVER = ("succeeded", "failed", "timed_out", "canceled", "expired", "lost")


    class GatewayError(AirflowException):
        """The gateway said no. ``code`` is its stable word for why, ``status`` the HTTP status."""

        def __init__(self, message: str, *, status: int = 0, code: str = "") -> None:
            super().__init__(message)
            self.status = status
            self.code = code


    class GatewayUnavailable(GatewayError):
        """
        No answer that decides anything: not reached, overloaded, restarting, or the answer was lost. The request may
        have been carried out all the same, so it is only repeated where that does no harm.
        """

        def __init__(self, message: str, *, status: int = 0, code: str = "", retry_after: float = 0) -> None:
            super().__init__(message, status=status, code=code)
            #: Seconds that the gateway asks to be left alone.
            self.retry_after = retry_after


    @dataclass(frozen=True)
    class Call:
        method: str
        path: str
        params: dict[str, Any] = field(default_factory=dict)
        body: dict[str, Any] | None = None
        headers: dict[str, str] = field(default_factory=dict)
        #: How long the gateway may hold the answer, in seconds.
        hold: float = 0


    def submit_job(body: dict[str, Any], idempotency_key: str) -> Call:
        return Call("POST", "/v1/jobs", body=body, headers={"Idempotency-Key": f'"{idempotency_key}"'})


    def read_job(job_id: str, *, wait: int = 0) -> Call:
        """:param wait: hold the answer until the job is over, at most so many seconds"""
        return Call("GET", job_path(job_id), params={"wait": wait} if wait else {}, hold=wait)


    def list_jobs(labels: dict[str, str], *, states: tuple[str, ...] = (), page_token: str | None = None) -> Call:
        params: dict[str, Any] = {"label": [f"{name}:{value}" for name, value in labels.items()], "page_size": 200}
        if states:
            params["state"] = list(states)
        if page_token:
            params["page_token"] = page_token
        return Call("GET", "/v1/jobs", params=params)


    def wait_for_any(job_ids: list[str]) -> Call:
        """Answers as soon as one of them is over. At most 1,000."""
        body = {"jobs": [{"id": job_id} for job_id in job_ids], "mode": "any", "timeout_seconds": LONGEST_HOLD}
        return Call("POST", "/v1/jobs:wait", body=body, hold=LONGEST_HOLD)


    def adopt_job(target_server: str, agent_job_id: str, labels: dict[str, str]) -> Call:
        """A job that somebody else started on an agent; once more, it is the same job."""
        body = {"target_server": target_server, "agent_job_id": agent_job_id, "labels": labels}
        return Call("POST", "/v1/jobs:adopt", body=body)


    def cancel_job(job_id: str, reason: str) -> Call:
        return Call("POST", f"{job_path(job_id)}:cancel", body={"reason": reason})


    def read_output(job_id: str, stream: str, offset: int, limit: int) -> Call:
        params = {"stream": stream, "offset": offset, "limit": limit}
        return Call("GET", f"{job_path(job_id)}/logs", params=params)


    def job_path(job_id: str) -> str:
        return f"/v1/jobs/{quote(job_id, safe='')}"


    @dataclass(frozen=True)
    class OutputRange:
        """Bytes of one stream, from ``offset`` up to ``next``."""

        data: bytes
        offset: int
        next: int
        #: Nothing will follow.
        complete: bool


    def output_range(response: httpx.Response, asked: int) -> OutputRange:
        offset = int(response.headers.get("x-log-offset", asked))
        return OutputRange(
            data=response.content,
            offset=offset,
            next=int(response.headers.get("x-log-next", offset + len(response.content))),
            complete=response.headers.get("x-log-complete") == "true" or "x-log-truncated" in response.headers,
        )


    def check_response(response: httpx.Response, url: str) -> None:
        """
        :raises GatewayUnavailable: if the same request may go through later
        :raises GatewayError: if it will not; where the peer is no gateway at all, it is named as that
        """
        status = response.status_code
        problem = read_problem(response)
        if status < 400 and problem is None:
            if not is_gateways(response):
                raise no_gateway(url)
            return
        if problem is None:
            # A proxy in front of a gateway that restarts answers in its own words.
            if status in (429, 502, 503, 504):
                raise GatewayUnavailable(f"{url} answers {status}", status=status, retry_after=pause_of(response))
            raise no_gateway(url)
        code = str(problem.get("code", ""))
        message = f"The gateway at {url} answers {status} {code}: {problem.get('detail') or problem.get('title')}"
        if status >= 500 or status == 429:
            raise GatewayUnavailable(message, status=status, code=code, retry_after=pause_of(response))
        raise GatewayError(message, status=status, code=code)


    def read_json(response: httpx.Response, url: str) -> Any:
        """:raises GatewayError: if it is none"""
        try:
            return json.loads(response.content)
        except ValueError as error:
            raise no_gateway(url) from error


    def read_problem(response: httpx.Response) -> dict[str, Any] | None:
        if not response.headers.get("content-type", "").startswith("application/problem+json"):
            return None
        try:
            problem = json.loads(response.content)
        except ValueError:
            return None
        return problem if isinstance(problem, dict) else None


    def is_gateways(response: httpx.Response) -> bool:
        """Every answer of a gateway names its request; an agent or a web page does not."""
        return "x-request-id" in response.headers


    def no_gateway(url: str) -> GatewayError:
        return GatewayError(
            f"{url} answers, but is no Sluice gateway. The host of a connection used to be ignored, and now is where the "
            "gateway is looked for last: set gateway_url in the connection's Extra"
        )


    def pause_of(response: httpx.Response) -> float:
        try:
            return float(response.headers.get("retry-after", 0))
        except ValueError:
            return 0


    # client: The two ways to send a call to a gateway: blocking, from a task, and awaited, from a triggerer.
    #
    # A request is repeated only by ``patiently``, and only after an answer that decides nothing. All calls of this package
    # bear repetition: a submit carries its ``Idempotency-Key``, a second cancel is harmless, the rest reads.


    Answer = TypeVar("Answer")

    #: Seconds until a connection must stand, and for what an answer takes beyond the time that it may be held.
    CONNECT_SECONDS = 10.0
    ANSWER_SECONDS = 20.0


    class GatewayClient:
        """Blocks. One per task; not shared between threads or with a signal handler."""

        def __init__(self, address: GatewayAddress) -> None:
            self.address = address
            self._http = httpx.Client(**client_options(address))

        def send(self, call: Call) -> Any:
            """
            :returns: the answer's JSON
            :raises GatewayUnavailable: if the same call may go through later
            :raises GatewayError: if the gateway said no
            """
            return read_json(self._response(call), self.address.url)

        def list(self, labels: dict[str, str]) -> list[Job]:
            """All jobs with these labels, newest first."""
            jobs: list[Job] = []
            page_token = None
            while True:
                page = self.send(list_jobs(labels, page_token=page_token))
                jobs.extend(page["items"])
                page_token = page["next_page_token"]
                if page_token is None:
                    return jobs

        def output(self, job_id: str, stream: str, offset: int, limit: int) -> OutputRange:
            return output_range(self._response(read_output(job_id, stream, offset, limit)), offset)

        def close(self) -> None:
            self._http.close()

        def __enter__(self) -> GatewayClient:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def _response(self, call: Call) -> httpx.Response:
            try:
                response = self._http.request(call.method, call.path, **request_options(call))
            except httpx.HTTPError as error:
                raise unreachable(self.address, error) from error
            check_response(response, self.address.url)
            return response


    def patiently(ask: Callable[[], Answer], seconds: float, tell: Callable[[str], None]) -> Answer:
        """Asks again and again, for so many seconds, while no answer decides anything."""
        give_up_at = time.monotonic() + seconds
        for pause in growing_pauses():
            try:
                return ask()
            except GatewayUnavailable as error:
                rest = max(pause, error.retry_after)
                if time.monotonic() + rest > give_up_at:
                    raise
                tell(f"{error}; trying again in {rest:.0f} s")
                time.sleep(rest)
        raise AssertionError("the pauses never end")


    class AsyncGatewayClient:
        """Awaits. Belongs to the event loop that made it."""

        def __init__(self, address: GatewayAddress) -> None:
            self.address = address
            limits = httpx.Limits(max_connections=32, max_keepalive_connections=8)
            self._http = httpx.AsyncClient(**client_options(address), limits=limits)

        async def send(self, call: Call) -> Any:
            """See ``GatewayClient.send``."""
            return read_json(await self._response(call), self.address.url)

        async def output(self, job_id: str, stream: str, offset: int, limit: int) -> OutputRange:
            return output_range(await self._response(read_output(job_id, stream, offset, limit)), offset)

        async def close(self) -> None:
            await self._http.aclose()

        async def _response(self, call: Call) -> httpx.Response:
            try:
                response = await self._http.request(call.method, call.path, **request_options(call))
            except httpx.HTTPError as error:
                raise unreachable(self.address, error) from error
            check_response(response, self.address.url)
            return response


    def client_options(address: GatewayAddress) -> dict[str, Any]:
        keep_quiet(address.url)
        return {
            "base_url": address.url,
            "headers": {"Authorization": f"Bearer {address.api_key}"},
            "verify": trust(address),
            "follow_redirects": False,
        }


    def trust(address: GatewayAddress) -> ssl.SSLContext | bool:
        """Without ``verify_ssl`` any certificate will do, as it always has; the hook warns of it."""
        if not address.url.startswith("https:"):
            return True
        context = ssl.create_default_context()
        if not address.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if address.client_cert:
            try:
                context.load_cert_chain(address.client_cert, address.client_key)
            except OSError as error:
                raise GatewayError(f"client_cert {address.client_cert} cannot be used: {error}") from error
        return context


    def request_options(call: Call) -> dict[str, Any]:
        return {
            "params": call.params,
            "json": call.body,
            "headers": call.headers,
            "timeout": httpx.Timeout(ANSWER_SECONDS + call.hold, connect=CONNECT_SECONDS),
        }


    def unreachable(address: GatewayAddress, error: httpx.HTTPError) -> GatewayUnavailable:
        return GatewayUnavailable(f"The gateway at {address.url} does not answer: {error or type(error).__name__}")


    def growing_pauses() -> Iterator[float]:
        """Seconds between repetitions: 1, 2, 4, ... 30."""
        pause = 1.0
        while True:
            yield pause
            pause = min(pause * 2, 30.0)


    class KeepQuiet(logging.Filter):
        """Drops httpx's line for every request to one gateway: Airflow 2 would write it into the log of a task."""

        def __init__(self, url: str) -> None:
            super().__init__(url)
            self.url = url

        def filter(self, record: logging.LogRecord) -> bool:
            args = record.args if isinstance(record.args, tuple) else ()
            return not any(str(arg).startswith(self.url) for arg in args)


    def keep_quiet(url: str) -> None:
        log = logging.getLogger("httpx")
        if not any(isinstance(known, KeepQuiet) and known.url == url for known in log.filters):
            log.addFilter(KeepQuiet(url))


    # connection_form: The form for connections of the type ``sluice``: each field is a key of Extra, which ``address.py`` reads.
    #
    # Airflow 3.2 and later take it from the provider's info and import nothing for it; older ones ask the hook for widgets.
    # Both are made from the one list here.


    @dataclass(frozen=True)
    class FormField:
        label: str
        description: str
        #: ``string``, ``password`` or ``boolean``.
        kind: str = "string"
        #: What a new connection begins with; Extra without the key may mean something else.
        default: bool | None = None


    FORM_FIELDS = {
        "gateway_url": FormField("Gateway URL", "Such as https://gateway:8443; else SLUICE_URL, else the host"),
        "agent_token": FormField("API key", "Of the gateway; scopes jobs:submit, jobs:read, jobs:cancel", "password"),
        "verify_ssl": FormField("Verify certificate", "Whether the gateway's certificate is verified", "boolean", True),
        "client_cert": FormField("Client certificate", "A PEM file on every worker and triggerer"),
        "client_key": FormField("Client key", "A PEM file on every worker and triggerer"),
        "deferrable": FormField("Deferrable", "Off: tasks wait in their workers, not in the triggerer", "boolean", True),
        "instance": FormField("Instance", "Keeps two Airflows with the same DAGs apart; by default the base URL"),
    }
    #: What the form does not ask for: the address has fields of its own.
    HIDDEN_FIELDS = ["login", "password"]
    RELABELED_FIELDS = {"schema": "Schema (http, https)"}


    def declared_fields() -> dict[str, Any]:
        """``conn-fields`` of the provider's info."""
        declared: dict[str, Any] = {}
        for name, field in FORM_FIELDS.items():
            schema: dict[str, Any] = {"type": ["boolean" if field.kind == "boolean" else "string", "null"]}
            if field.kind == "password":
                schema["format"] = "password"
            if field.default is not None:
                schema["default"] = field.default
            declared[name] = {"label": field.label, "description": field.description, "schema": schema}
        return declared


    def declared_behaviour() -> dict[str, Any]:
        """``ui-field-behaviour`` of the provider's info."""
        return {"hidden-fields": HIDDEN_FIELDS, "relabeling": RELABELED_FIELDS}


    def form_widgets() -> dict[str, Any]:
        """What Airflow 2 and 3.0 ask the hook for; the libraries of their forms are imported only then."""
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from wtforms import BooleanField, PasswordField, StringField

        widgets: dict[str, Any] = {}
        for name, field in FORM_FIELDS.items():
            said = {"label": field.label, "description": field.description}
            if field.kind == "boolean":
                widgets[name] = BooleanField(**said, default=field.default)
            elif field.kind == "password":
                widgets[name] = PasswordField(**said, widget=BS3PasswordFieldWidget())
            else:
                widgets[name] = StringField(**said, widget=BS3TextFieldWidget())
        return widgets


    # hook: The hook: a connection of Airflow as a client of the gateway that it names.


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


    # identity: Which jobs belong to a task, so that an Airflow retry is not a second start.
    #
    # ``key`` names the task instance, ``generation`` what Airflow was asked to do with it: it changes with a clear and stays
    # through retries. It is the run's start and ``max_tries``, as they are: ``max_tries - retries`` turns wrong when somebody
    # edits ``retries``, and ``clear_number`` also counts clears of other tasks.


    #: Never changes: every key is derived from it.
    NAMESPACE = uuid.UUID("6f0c3a2e-8d53-5c2b-9f5e-3f1f0f6f2f0a")

    TASK_LABEL = "airflow_ti"
    GENERATION_LABEL = "airflow_gen"
    TRY_LABEL = "airflow_try"
    INSTANCE_LABEL = "airflow_instance"
    DAG_LABEL = "airflow_dag"
    RUN_LABEL = "airflow_run"
    TASK_ID_LABEL = "airflow_task"
    MAP_INDEX_LABEL = "airflow_map_index"
    #: Whether a task waits for the job; a job that nobody waits for is nobody's to cancel.
    AWAITED_LABEL = "airflow_awaited"


    @dataclass(frozen=True)
    class TaskIdentity:
        """One try of one task instance."""

        instance: str
        dag_id: str
        run_id: str
        task_id: str
        map_index: int
        generation: str
        try_number: int

        @property
        def key(self) -> str:
            parts = (self.instance, self.dag_id, self.run_id, self.task_id, str(self.map_index))
            # The lengths keep two different lists of names from reading the same.
            return str(uuid.uuid5(NAMESPACE, "".join(f"{len(part)}:{part}" for part in parts)))

        def labels(self, *, awaited: bool) -> dict[str, str]:
            return {
                TASK_LABEL: self.key,
                GENERATION_LABEL: self.generation,
                TRY_LABEL: str(self.try_number),
                INSTANCE_LABEL: self.instance,
                DAG_LABEL: self.dag_id,
                RUN_LABEL: self.run_id,
                TASK_ID_LABEL: self.task_id,
                MAP_INDEX_LABEL: str(self.map_index),
                AWAITED_LABEL: "true" if awaited else "false",
            }


    def identify(context: Mapping[str, Any], instance: str) -> TaskIdentity:
        """:param instance: see ``GatewayAddress.instance``"""
        ti = context["ti"]
        start = context["dag_run"].start_date
        return TaskIdentity(
            instance=instance,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=ti.map_index if ti.map_index is not None else -1,
            generation=f"{start.isoformat() if start else ''}|{ti.max_tries}",
            try_number=ti.try_number,
        )


    # links: The link from a task to its job.


    #: The XComs that a task pushes right after its submit, before it waits.
    JOB_ID_XCOM = "agent_job_id"
    JOB_URL_XCOM = "agent_job_url"


    class AgentJobLink(BaseOperatorLink):
        name = "Agent job"

        @property
        def xcom_key(self) -> str:
            """Airflow 3 reads the address there itself, also while the task runs."""
            return JOB_URL_XCOM

        def get_link(self, operator: Any, *, ti_key: Any) -> str:
            return XCom.get_value(key=JOB_URL_XCOM, ti_key=ti_key) or ""


    # outcome: What the end of a job means for its task: the result that a DAG sees, or a failure that says what happened.
    #
    # ``status`` is ``"finished"`` as it always was, because DAGs compare it; the gateway's own words are beside it.


    #: What of each stream goes into the result, in bytes: it becomes an XCom. All of it is in the task's log.
    RESULT_BYTES = 65_536
    #: How much of stderr a failure quotes.
    QUOTED_LINES = 10


    def result_of(job: Job, output: dict[str, Any]) -> dict[str, Any]:
        """:param output: ``stdout``, ``stderr`` and whether there was more"""
        return {
            "job_id": job["id"],
            "status": "finished",
            "return_code": job["return_code"],
            **output,
            "state": job["state"],
            "outcome": job["outcome"],
        }


    def raise_unless_succeeded(job: Job, stderr: str, *, skip_on_exit_code: Collection[int] = (), page: str) -> None:
        """
        :raises AirflowSkipException: for one of the exit codes that mean "nothing to do"
        :raises AirflowFailException: where another try would end the same way: the agent said no to the job
        :raises AirflowException: for everything else that is no success
        """
        if job["state"] == "succeeded":
            return
        outcome = job["outcome"] or {}
        if outcome.get("kind") == "exit" and job["return_code"] in skip_on_exit_code:
            raise AirflowSkipException(f"Job {job['id']} ended with exit code {job['return_code']}: skipped")
        message = f"{describe_end(job)} ({page})"
        quoted = last_lines(stderr)
        if quoted:
            message += f"\nThe last lines of stderr:\n{quoted}"
        if outcome.get("kind") == "rejected":
            raise AirflowFailException(message)
        raise AirflowException(message)


    def describe_end(job: Job) -> str:
        """One sentence without a full stop."""
        outcome = job["outcome"] or {}
        who = f"Job {job['id']} on {job['target_server']}"
        why = f": {outcome['message']}" if outcome.get("message") else ""
        kind = outcome.get("kind")
        if kind == "exit":
            return f"{who} failed with return code {job['return_code']}"
        if kind == "signal":
            return f"{who} was ended by signal {outcome['signal']} (return code {job['return_code']})"
        if kind == "rejected":
            return f"{who} was rejected by the agent{why}"
        if job["state"] == "timed_out":
            return f"{who} ran longer than its timeout of {job['timeout_seconds']} s and was ended"
        if job["state"] == "canceled":
            return f"{who} was canceled by {job['canceled_by'] or 'somebody'}"
        if job["state"] == "expired":
            return f"{who} was not started within {job['start_deadline_seconds']} s{why}"
        if job["state"] == "lost":
            return f"{who} is lost, what became of it is not known ({kind}){why}"
        return f"{who} is {job['state']} ({kind}){why}"


    def last_lines(text: str) -> str:
        return "\n".join(text.rstrip().splitlines()[-QUOTED_LINES:])


    # output: A job's output as lines of a task's log, by offset, so that no byte is left out.
    #
    # ``printed`` only counts bytes whose lines have been written. Whoever goes on from there (the worker after the
    # triggerer, a triggerer after another one's death) leaves out nothing; what it may write twice stands under a line that
    # names the byte it starts at.


    STREAMS = ("stdout", "stderr")
    #: What is asked for at once.
    CHUNK_BYTES = 262_144
    #: A line longer than this is written in pieces.
    LINE_BYTES = 16_384


    class StreamLog:
        """One stream on its way into a log. :param write: takes one line"""

        def __init__(self, stream: str, printed: int, write: Callable[[str], None]) -> None:
            self.stream = stream
            #: Bytes before this one are in the log.
            self.printed = printed
            #: The next byte to ask for.
            self.offset = printed
            self._rest = b""
            self._begun = False
            self._write = write

        def feed(self, got: OutputRange) -> None:
            if got.offset > self.offset:
                self._write_rest()
                self._write(f"[{self.stream}] bytes {self.offset} to {got.offset - 1} are no longer to be had")
                self.printed = got.offset
            self.offset = got.next
            if got.data and not self._begun:
                self._begun = True
                self._write(f"[{self.stream}] from byte {self.printed}:")
            *lines, self._rest = (self._rest + got.data).split(b"\n")
            for line in lines:
                self._write_line(line)
                self.printed += len(line) + 1
            while len(self._rest) > LINE_BYTES:
                piece = whole_characters(self._rest[:LINE_BYTES])
                self._write_line(piece)
                self.printed += len(piece)
                self._rest = self._rest[len(piece) :]

        def end(self) -> None:
            """Writes a last line that no newline ends."""
            self._write_rest()

        def _write_rest(self) -> None:
            if self._rest:
                self._write_line(self._rest)
                self.printed += len(self._rest)
                self._rest = b""

        def _write_line(self, line: bytes) -> None:
            while len(line) > LINE_BYTES:
                piece = whole_characters(line[:LINE_BYTES])
                self._write_line(piece)
                line = line[len(piece) :]
            self._write(f"[{self.stream}] {line.decode('utf-8', 'replace').rstrip()}")


    class OutputLog:
        """Both streams of one job."""

        def __init__(self, write: Callable[[str], None], printed: dict[str, int] | None = None) -> None:
            self.streams = [StreamLog(name, (printed or {}).get(name, 0), write) for name in STREAMS]

        @property
        def printed(self) -> dict[str, int]:
            """What another one needs to go on from here."""
            return {stream.stream: stream.printed for stream in self.streams}

        def catch_up(self, client: GatewayClient, job_id: str) -> None:
            """
            Writes what is there by now.

            :raises GatewayError: if the output cannot be read now
            """
            for stream in self.streams:
                while True:
                    got = client.output(job_id, stream.stream, stream.offset, CHUNK_BYTES)
                    stream.feed(got)
                    if got.complete or len(got.data) < CHUNK_BYTES:
                        break

        def end(self) -> None:
            for stream in self.streams:
                stream.end()


    def whole_characters(data: bytes) -> bytes:
        """Without a character at the end that is not all there; bytes that can be no character stay."""
        for back in range(1, min(3, len(data) - 1) + 1):
            byte = data[-back]
            if byte & 0xC0 == 0x80:
                continue
            length = 1 if byte > 0xF4 else 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return data[:-back] if length > back else data
        return data


    def read_result_output(client: GatewayClient, job: Job) -> dict[str, Any]:
        """
        The first bytes of each stream for a task's result; what was kept with the job where its host cannot be asked.
        """
        output: dict[str, Any] = {}
        for stream in STREAMS:
            size = job[f"{stream}_bytes"]
            try:
                data = client.output(job["id"], stream, 0, RESULT_BYTES).data
                cut = len(data) == RESULT_BYTES if size is None else size > len(data)
            except GatewayError:
                data = (job.get(stream) or job.get(f"{stream}_tail") or "").encode()
                cut = size is not None and size > len(data)
            output[stream] = data.decode("utf-8", "replace")
            output[f"{stream}_truncated"] = cut
        return output


    # task_state: What Airflow says of its own tasks and triggerers, asked from outside a task's run.
    #
    # On 2.11 the database is read; on 3 nothing but Airflow itself may, so it is asked. Every function may raise whatever
    # Airflow raises: who asks must then leave everything as it is.


    #: The states in which a task instance is done with; None, "scheduled" and all others may still come to something.
    FINISHED = ("success", "failed", "skipped", "upstream_failed", "removed")


    async def is_still_deferred(ti: Any, trigger_id: int | None) -> bool:
        """
        Whether this task waits on. A trigger that ends while it does was only moved to another triggerer.

        :param ti: the task instance that Airflow gave the trigger
        """
        if AIRFLOW_3:
            states = await run_states(ti.dag_id, ti.run_id, [ti.task_id])
            return states.get(state_name(ti.task_id, ti.map_index)) == "deferred"
        row = await sync_to_async(read_row)(ti)
        # Cleared and deferred again, it waits on another trigger.
        return row is not None and row.state == "deferred" and row.trigger_id == trigger_id


    async def run_states(dag_id: str, run_id: str, task_ids: list[str]) -> dict[str, str | None]:
        """The states of these tasks in one run, by ``state_name``; a task that is not there is left out."""
        if not AIRFLOW_3:
            return await sync_to_async(read_run_states)(dag_id, run_id, task_ids)
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ask = sync_to_async(RuntimeTaskInstance.get_task_states)
        states = await ask(dag_id=dag_id, task_ids=task_ids, run_ids=[run_id])
        return {name: state and str(state) for name, state in states.get(run_id, {}).items()}


    def state_name(task_id: str, map_index: int | None) -> str:
        """How ``run_states`` names a task instance."""
        return task_id if map_index is None or map_index < 0 else f"{task_id}_{map_index}"


    def read_row(ti: Any) -> Any:
        """2.11: the task instance's state and trigger in the database."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session

        model: Any = TaskInstance
        with create_session() as session:
            return (
                session.query(model.state, model.trigger_id)
                .filter_by(dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=ti.map_index)
                .one_or_none()
            )


    def read_run_states(dag_id: str, run_id: str, task_ids: list[str]) -> dict[str, str | None]:
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session

        model: Any = TaskInstance
        with create_session() as session:
            rows = (
                session.query(model.task_id, model.map_index, model.state)
                .filter(model.dag_id == dag_id, model.run_id == run_id, model.task_id.in_(task_ids))
                .all()
            )
        return {state_name(row.task_id, row.map_index): row.state and str(row.state) for row in rows}


    def triggerer_trouble() -> str | None:
        """
        Asked in a worker before a task defers: without a triggerer it would wait for ever.

        :returns: what is wrong in one sentence; None if a triggerer is alive, or if that cannot be told
        """
        try:
            healthy = triggerer_answers() if AIRFLOW_3 else triggerer_beats()
        except Exception:  # Whatever it is, it is no reason to hold a worker.
            return None
        return None if healthy else "No triggerer is alive"


    def triggerer_answers() -> bool:
        """3: the API server's health page needs no login."""
        execution_api = conf.get("core", "execution_api_server_url", fallback=None)
        base = (execution_api or base_url()).rstrip("/").removesuffix("/execution")
        reply = httpx.get(f"{base}/api/v2/monitor/health", timeout=5)
        reply.raise_for_status()
        return bool(reply.json()["triggerer"]["status"] == "healthy")


    def triggerer_beats() -> bool:
        """2.11: the newest triggerer's heartbeat in the database."""
        from airflow.jobs.job import most_recent_job

        job = most_recent_job("TriggererJob")
        return job is not None and bool(job.is_alive())


    # waiter: One held request for all tasks of a triggerer that wait for the same gateway with the same key.
    #
    # Each watcher gets a future. If the waiter ends, for whatever reason, it fails its futures, so that nobody waits for it
    # in vain; and whoever waits also asks for its own job now and then. It belongs to one event loop and ends when nobody
    # has waited for a while.


    log = logging.getLogger(__name__)

    #: What the gateway takes in one request.
    JOBS_PER_REQUEST = 1000
    #: Newcomers join the held request by sending it anew: at most so often, in seconds.
    RENEW_SECONDS = 0.5
    #: How long a waiter stays without anybody who waits, in seconds.
    LINGER_SECONDS = 5.0


    class JobUnknown(GatewayError):
        """The gateway knows no such job, or does not show it to this key."""


    class Waiter:
        """:param client: to ask with; not closed by it"""

        def __init__(self, client: AsyncGatewayClient) -> None:
            self._client = client
            self._watched: dict[str, set[asyncio.Future[Job]]] = {}
            self._joined = asyncio.Event()
            self._task: asyncio.Task[None] | None = None

        def watch(self, job_id: str) -> asyncio.Future[Job]:
            """
            :returns: the job, once it is over; ``JobUnknown`` or another ``GatewayError`` if that cannot be had. ``forget``
                it when it is no longer wanted
            """
            future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
            self._watched.setdefault(job_id, set()).add(future)
            self._joined.set()
            if self._task is None or self._task.done():
                self._task = start_apart(self._run())
            return future

        def forget(self, job_id: str, future: asyncio.Future[Job]) -> None:
            if future.done() and not future.cancelled():
                future.exception()  # Read, so that asyncio does not complain of it.
            futures = self._watched.get(job_id, set())
            futures.discard(future)
            if not futures:
                self._watched.pop(job_id, None)

        async def _run(self) -> None:
            try:
                while await self._somebody_waits():
                    await self._round()
            finally:
                ended = GatewayUnavailable("The shared wait of this triggerer has ended")
                for job_id in list(self._watched):
                    self._settle(job_id, ended)

        async def _somebody_waits(self) -> bool:
            if self._watched:
                return True
            self._joined.clear()
            try:
                await asyncio.wait_for(self._joined.wait(), LINGER_SECONDS)
            except asyncio.TimeoutError:
                return bool(self._watched)
            return True

        async def _round(self) -> None:
            """Holds requests for all that are watched now, until one answers or somebody joins."""
            self._joined.clear()
            ids = list(self._watched)
            parts = [ids[start : start + JOBS_PER_REQUEST] for start in range(0, len(ids), JOBS_PER_REQUEST)]
            held = [asyncio.ensure_future(self._hold(part)) for part in parts]
            joined = asyncio.ensure_future(self._join())
            try:
                await asyncio.wait([*held, joined], return_when=asyncio.FIRST_COMPLETED)
                for task in held:
                    if task.done():
                        # What nobody foresaw ends the waiter, and so is told to all who wait.
                        task.result()
            finally:
                for task in (*held, joined):
                    task.cancel()
                await asyncio.gather(*held, joined, return_exceptions=True)

        async def _join(self) -> None:
            await asyncio.sleep(RENEW_SECONDS)
            await self._joined.wait()

        async def _hold(self, ids: list[str]) -> None:
            reply = None
            for pause in growing_pauses():
                try:
                    reply = await self._client.send(wait_for_any(ids))
                    break
                except GatewayUnavailable as error:
                    log.warning("%s; %d tasks wait on", error, len(ids))
                    await asyncio.sleep(max(pause, error.retry_after))
                except GatewayError as error:
                    # The key is refused, say: each task tells so in its own log.
                    for job_id in ids:
                        self._settle(job_id, error)
                    return
            if reply is None:
                return
            for job in reply["ready"]:
                self._settle(job["id"], job)
            for job_id in reply["unknown"]:
                self._settle(job_id, JobUnknown(f"The gateway at {self._client.address.url} knows no job {job_id}"))

        def _settle(self, job_id: str, what: Job | GatewayError) -> None:
            for future in self._watched.pop(job_id, set()):
                if future.done():
                    continue
                if isinstance(what, GatewayError):
                    future.set_exception(what)
                else:
                    future.set_result(what)


    def start_apart(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """
        As a task that belongs to nobody: with the context of the trigger that happens to start it, its log lines would land
        in the log of that trigger's task.
        """
        loop = asyncio.get_running_loop()
        return contextvars.Context().run(loop.create_task, work)


    # reconcile: Cancels jobs whose tasks are over: the kills that reach no hook of Airflow's, such as one while no triggerer is up.
    #
    # Runs in a triggerer while tasks wait there. It acts only on what Airflow says twice, a minute apart, and only on jobs
    # that a task was to wait for: what Airflow does not know, or does not answer, is left alone.


    reconcile_log = logging.getLogger(__name__)

    #: Between two looks, and how long a task must have been over, in seconds.
    ROUND_SECONDS = 60.0
    #: The states of jobs that a cancel would end, without those where one is under way.
    RUNNING_STATES = ("queued", "dispatching", "running", "unreachable")


    class Reconciler:
        """Ends by itself some time after nobody has asked it to keep going any more."""

        def __init__(self, client: AsyncGatewayClient) -> None:
            self._client = client
            self._wanted_at = 0.0
            self._task: asyncio.Task[None] | None = None
            #: Since when a job's task has been seen to be over.
            self._over_since: dict[str, float] = {}

        def keep_going(self) -> None:
            """Called by every task that waits, at least once a minute."""
            self._wanted_at = time.monotonic()
            if self._task is None or self._task.done():
                self._task = start_apart(self._run())

        async def _run(self) -> None:
            while time.monotonic() - self._wanted_at < 2 * ROUND_SECONDS:
                await asyncio.sleep(ROUND_SECONDS)
                try:
                    await self.round()
                except Exception as error:
                    # Airflow or the gateway is away: nothing can be said of any task, and nothing is done.
                    self._over_since.clear()
                    reconcile_log.warning("Which jobs' tasks are over cannot be told: %s", error)

        async def round(self) -> None:
            over = {job["id"]: job for job in await self._jobs_of_finished_tasks()}
            now = time.monotonic()
            self._over_since = {job_id: self._over_since.get(job_id, now) for job_id in over}
            for job_id, since in self._over_since.items():
                if now - since >= ROUND_SECONDS * 0.9:
                    await self._cancel(over[job_id])

        async def _jobs_of_finished_tasks(self) -> list[Job]:
            runs: dict[tuple[str, str], list[Job]] = {}
            for job in await self._awaited_jobs():
                labels = job["labels"]
                runs.setdefault((labels.get(DAG_LABEL, ""), labels.get(RUN_LABEL, "")), []).append(job)
            finished: list[Job] = []
            for (dag_id, run_id), jobs in runs.items():
                task_ids = sorted({job["labels"].get(TASK_ID_LABEL, "") for job in jobs})
                states = await run_states(dag_id, run_id, task_ids)
                finished += [job for job in jobs if states.get(name_of(job, task_ids)) in FINISHED]
            return finished

        async def _awaited_jobs(self) -> list[Job]:
            labels = {INSTANCE_LABEL: self._client.address.instance, AWAITED_LABEL: "true"}
            jobs: list[Job] = []
            page_token = None
            while True:
                page = await self._client.send(list_jobs(labels, states=RUNNING_STATES, page_token=page_token))
                jobs.extend(page["items"])
                page_token = page["next_page_token"]
                if page_token is None:
                    return jobs

        async def _cancel(self, job: Job) -> None:
            reconcile_log.warning("Job %s runs on though its Airflow task is over: canceling it", job["id"])
            try:
                await self._client.send(cancel_job(job["id"], "The Airflow task is over"))
            except GatewayError as error:
                if error.code != "job_is_over":
                    raise


    def name_of(job: Job, task_ids: list[str]) -> str:
        """How ``run_states`` names the job's task; empty where that name may also be another task's."""
        map_index = int(job["labels"].get(MAP_INDEX_LABEL, -1))
        name = state_name(job["labels"].get(TASK_ID_LABEL, ""), map_index)
        return "" if map_index >= 0 and name in task_ids else name


    # shared: What the triggers of one event loop share: looked-up connections, one waiter and one client per gateway and key, and
    # the places for reading output.
    #
    # Kept by loop and never at module level: ``airflow dags test`` makes a new loop for every deferral, and an object of
    # asyncio that outlives its loop breaks the next one.


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


    # trigger: The trigger: waits in a triggerer for the end of one job, writes its output into the task's log meanwhile, and cancels
    # the job if the task is killed.
    #
    # Its arguments are kept in Airflow's database and shown: no key is among them. It fires exactly one event, small, which
    # names the job; whoever resumes reads the job anew.


    #: Each trigger also asks for its own job so often, in seconds.
    ASK_SECONDS = 60.0
    #: Pauses between two looks at a job's output, in seconds.
    FIRST_LOOK_SECONDS = 5.0
    LONGEST_LOOK_SECONDS = 30.0
    #: What is said while a job cannot be reached is said again after so long, in seconds.
    REMIND_SECONDS = 600.0

    #: Keeps cancels that outlive their trigger from being collected.
    CANCELS: set[asyncio.Task[Any]] = set()


    class AgentJobTrigger(BaseTrigger):
        """
        Fires ``{"status": ..., "job_id": ..., "printed": ...}``: ``over``; ``timeout``, with ``reason``; or ``unknown``.

        :param job_id: the gateway's id of the job
        :param agent_conn_id: the connection that names the gateway
        :param deadline: when to give up, in seconds since 1970: another host may go on with this trigger
        :param deadline_reason: what the deadline is, for people
        :param cancel_on_kill: whether the job is canceled when the task is killed
        :param printed: bytes of each stream that are in the task's log already
        """

        def __init__(
            self,
            job_id: str,
            agent_conn_id: str,
            deadline: float | None = None,
            deadline_reason: str = "",
            cancel_on_kill: bool = False,
            printed: dict[str, int] | None = None,
        ) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.job_id = job_id
            self.agent_conn_id = agent_conn_id
            self.deadline = deadline
            self.deadline_reason = deadline_reason
            self.cancel_on_kill = cancel_on_kill
            self.printed = printed
            self._gateway: Gateway | None = None
            self._fired = False
            self._told: tuple[str, float] = ("", 0.0)

        def serialize(self) -> tuple[str, dict[str, Any]]:
            arguments = {
                "job_id": self.job_id,
                "agent_conn_id": self.agent_conn_id,
                "deadline": self.deadline,
                "deadline_reason": self.deadline_reason,
                "cancel_on_kill": self.cancel_on_kill,
                "printed": self.printed,
            }
            # Not this module's own name: what waits in the database must be found by the package and by the single file.
            return "agent_operators.AgentJobTrigger", arguments

        async def run(self) -> AsyncIterator[TriggerEvent]:
            output = OutputLog(self._say, self.printed)
            look = asyncio.ensure_future(self._follow_output(output))
            try:
                event = await self._end_or_deadline()
            finally:
                look.cancel()
            # Before the event: what ends this trigger from here on is no kill.
            self._fired = True
            yield TriggerEvent({**event, "job_id": self.job_id, "printed": output.printed})

        async def on_kill(self) -> None:
            """Airflow 3.3 and later."""
            await self._cancel_if_killed()

        async def cleanup(self) -> None:
            """Runs at every end; up to Airflow 3.2 it is the only word of a kill."""
            if not TRIGGERS_HEAR_OF_KILLS:
                await self._cancel_if_killed()

        async def _end_or_deadline(self) -> dict[str, Any]:
            while True:
                rest = ASK_SECONDS if self.deadline is None else self.deadline - time.time()
                if rest <= 0:
                    return {"status": "timeout", "reason": self.deadline_reason}
                try:
                    job = await self._wait(min(rest, ASK_SECONDS))
                except JobUnknown as error:
                    return {"status": "unknown", "reason": str(error)}
                except AirflowException as error:
                    # Neither a gateway that is away nor a connection that somebody edits ends a job.
                    self._tell(f"{error}; the job runs on, and is waited for")
                    await asyncio.sleep(min(5.0, max(rest, 0)))
                    continue
                if job and job["state"] in OVER:
                    return {"status": "over", "state": job["state"]}
                if job and job["state"] == "unreachable":
                    self._tell(f"{job['target_server']} has not answered since {job['unreachable_since']}; waiting on")

        async def _wait(self, seconds: float) -> Job | None:
            """Together with all others; after so many seconds asks for this job alone."""
            self._gateway = gateway = await find_gateway(self.agent_conn_id)
            gateway.reconciler.keep_going()
            over = gateway.waiter.watch(self.job_id)
            try:
                await asyncio.wait([over], timeout=seconds)
                if over.done():
                    return over.result()
            finally:
                gateway.waiter.forget(self.job_id, over)
            try:
                job: Job = await gateway.client.send(read_job(self.job_id))
            except GatewayError as error:
                if error.status == 404:
                    raise JobUnknown(str(error)) from error
                raise
            return job

        async def _follow_output(self, output: OutputLog) -> None:
            """What is left at the end is written by the task when it resumes."""
            pause = FIRST_LOOK_SECONDS
            while True:
                await asyncio.sleep(pause)
                try:
                    grown = await self._catch_up(output)
                except AirflowException:
                    # It is the host or the gateway that is away, and the wait says so.
                    grown = False
                pause = FIRST_LOOK_SECONDS if grown else min(pause * 1.5, LONGEST_LOOK_SECONDS)

        async def _catch_up(self, output: OutputLog) -> bool:
            gateway = await find_gateway(self.agent_conn_id)
            grown = False
            for stream in output.streams:
                more = True
                while more:
                    async with loop_share().output_places:
                        got = await gateway.client.output(self.job_id, stream.stream, stream.offset, CHUNK_BYTES)
                    stream.feed(got)
                    grown = grown or bool(got.data)
                    more = not got.complete and len(got.data) >= CHUNK_BYTES
            return grown

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
                await gateway.client.send(cancel_job(self.job_id, "The Airflow task was ended"))
            except GatewayUnavailable as error:
                self.log.warning("Job %s could not be canceled: %s", self.job_id, error)
            except GatewayError as error:
                if error.code != "job_is_over":
                    self.log.warning("Job %s could not be canceled: %s", self.job_id, error)
            except Exception:
                # Not known to be killed: the job is left alone.
                self.log.warning("Whether job %s is still waited for cannot be told", self.job_id, exc_info=True)

        def _say(self, line: str) -> None:
            self.log.info("%s", line)

        def _tell(self, line: str) -> None:
            """The same thing only now and then."""
            told, at = self._told
            if line != told or time.monotonic() - at > REMIND_SECONDS:
                self._told = (line, time.monotonic())
                self.log.warning("%s", line)


    # worker_wait: Waiting inside a worker: one long-poll at a time, the output written into the task's log in between.


    #: How long the first request is held, in seconds: between two of them the output is looked at.
    FIRST_HOLD_SECONDS = 5.0


    def wait_in_worker(
        client: GatewayClient,
        job: Job,
        *,
        until: float,
        output: OutputLog,
        tell: Callable[[str], None],
        stopped: Callable[[], bool],
    ) -> Job:
        """
        :param until: when to stop waiting, in seconds since 1970
        :param stopped: whether the task was killed: Airflow 3 goes on with it after ``on_kill``
        :returns: the job as last seen; it is over unless the time is, or the task was killed
        """
        hold = FIRST_HOLD_SECONDS
        pauses = growing_pauses()
        was_unreachable = False
        while job["state"] not in OVER and not stopped():
            rest = min(hold, until - time.time())
            if rest <= 0:
                break
            try:
                job = client.send(read_job(job["id"], wait=max(1, round(rest))))
                pauses = growing_pauses()
            except GatewayUnavailable as error:
                tell(f"{error}; the job runs on, and is waited for")
                time.sleep(min(max(next(pauses), error.retry_after), max(rest, 1.0)))
                continue
            unreachable = job["state"] == "unreachable"
            if unreachable and not was_unreachable:
                tell(f"{job['target_server']} has not answered since {job['unreachable_since']}; waiting on")
            was_unreachable = unreachable
            grown = look(client, job["id"], output)
            hold = FIRST_HOLD_SECONDS if grown else min(hold * 1.5, float(LONGEST_HOLD) / 2)
        return job


    def look(client: GatewayClient, job_id: str, output: OutputLog) -> bool:
        """:returns: whether there was something new to write"""
        before = output.printed
        try:
            output.catch_up(client, job_id)
        except GatewayError:
            # The host is away, which the job's state says; what is missing is read later.
            return False
        return output.printed != before


    # job_task: What the operators and the sensor have in common: a task that is about one job of a gateway. It waits in the worker or
    # in the triggerer, writes the output, finds its job again however it is called, and cancels it if it should.


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


    # start: The rule that makes a retry no second start: look for the job of this generation of the task, and only start one where
    # there is none to attach to.
    #
    # The list shows every acknowledged job at once. Between the list and the submit another process may act; then the
    # ``Idempotency-Key``, which counts the jobs of the generation, makes both submits one job, or is refused because their
    # bodies differ, and the list is read again. ``replace`` starts nothing before the old job is proven over.


    #: How long a gateway that does not answer is asked again before the try fails, in seconds.
    SUBMIT_PATIENCE_SECONDS = 300.0


    def start_or_attach(
        client: GatewayClient,
        identity: TaskIdentity,
        order: dict[str, Any],
        *,
        awaited: bool,
        tell: Callable[[str], None],
    ) -> Job:
        """
        :param order: what to run: the fields of a submit without labels and keys
        :param tell: hears in one sentence what was done
        :raises GatewayError: if the gateway refuses the job, or does not answer for too long
        """
        body = {
            **order,
            "labels": identity.labels(awaited=awaited),
            "unique_key": identity.key,
            "on_duplicate": "replace",
        }
        for last in (False, False, False, True):
            jobs = jobs_of_generation(client, identity, tell)
            attached = attachable(jobs, identity)
            if attached:
                tell(f"Job {attached['id']} of this task is {attached['state']}: attached to it, nothing was started")
                return attached
            submit = submit_job(body, f"{identity.key}:{identity.generation}:{len(jobs)}")
            try:
                job: Job = patiently(partial(client.send, submit), SUBMIT_PATIENCE_SECONDS, tell)
            except GatewayError as error:
                if error.code != "idempotency_key_reused" or last:
                    raise
                tell("A submit of an earlier try has come through in between: looking again")
                continue
            tell(f"Submitted job {job['id']} to {job['target_server']}")
            return job
        raise AssertionError("unreachable")


    def jobs_of_generation(client: GatewayClient, identity: TaskIdentity, tell: Callable[[str], None]) -> list[Job]:
        """Newest first."""
        jobs = patiently(lambda: client.list({TASK_LABEL: identity.key}), SUBMIT_PATIENCE_SECONDS, tell)
        return [job for job in jobs if job["labels"].get(GENERATION_LABEL) == identity.generation]


    def attachable(jobs: list[Job], identity: TaskIdentity) -> Job | None:
        """
        The newest one, if it is what this try is about: under way, or done well, or the very job of this try, whose end is
        only to be reported.
        """
        newest = jobs[0] if jobs else None
        if newest is None or newest["state"] == "canceling":
            return None
        if newest["state"] not in OVER or newest["state"] == "succeeded":
            return newest
        return newest if newest["labels"].get(TRY_LABEL) == str(identity.try_number) else None


    # job_operator: What all operators that start a job do: submit or attach, wait, conclude; and end the job however the task is ended.
    #
    # Only this class defines what Airflow calls (``execute`` and the rest): on 2.11 an ``execute`` that calls that of its
    # base class is taken for a call from outside a task.


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


    # operators: The operators that DAGs use. They differ in how the job runs on its host, in how long the task stays in its worker, and
    # in which time limit the gateway is told.
    #
    # Every parameter is named in every ``__init__``: ``default_args`` of a DAG do not reach what hides in ``**kwargs``.


    #: How long AgentSyncOperator stays in its worker before it defers, in seconds.
    SYNC_WORKER_SECONDS = 30.0
    #: The time limit of a tmux job that is waited for, unless it says another.
    TMUX_TIMEOUT_SECONDS = 86_400
    #: How long AgentCancelOperator waits for the proof that the job has ended, in seconds.
    CANCEL_PROOF_SECONDS = 60


    class AgentSyncOperator(AgentJobOperator):
        """
        Runs a short command and returns its output.

        :param target_server: a host's name at the gateway, or its ``host:port``
        :param command: a shell command line
        :param job_user: the user to run as; None: the agent's own, root by custom
        :param agent_conn_id: the connection that names the gateway
        :param timeout_seconds: how long the command may run, and how long it may wait for its start
        :param deferrable: whether the task leaves its worker after 30 s; by default as the connection says, else yes
        :param skip_on_exit_code: the exit codes that skip the task instead of failing it
        """

        job_mode = "sync"
        worker_seconds = SYNC_WORKER_SECONDS

        def __init__(
            self,
            *,
            target_server: str,
            command: str,
            job_user: str | None = None,
            agent_conn_id: str = DEFAULT_CONNECTION,
            timeout_seconds: int = 3600,
            deferrable: bool | None = None,
            skip_on_exit_code: int | Collection[int] | None = None,
            **kwargs: Any,
        ) -> None:
            super().__init__(
                target_server=target_server,
                command=command,
                job_user=job_user,
                agent_conn_id=agent_conn_id,
                timeout_seconds=timeout_seconds,
                poll_interval=None,
                deferrable=deferrable,
                skip_on_exit_code=skip_on_exit_code,
                **kwargs,
            )


    class AgentAsyncOperator(AgentJobOperator):
        """
        Runs a command as a detached process and waits for its end without holding a worker. See ``AgentSyncOperator``.

        :param poll_interval: the longest pause between two questions of the gateway to the agent, in seconds. The task
            itself does not poll
        """

        job_mode = "async"

        def __init__(
            self,
            *,
            target_server: str,
            command: str,
            job_user: str | None = None,
            agent_conn_id: str = DEFAULT_CONNECTION,
            timeout_seconds: int = 3600,
            poll_interval: int = 15,
            deferrable: bool | None = None,
            skip_on_exit_code: int | Collection[int] | None = None,
            **kwargs: Any,
        ) -> None:
            super().__init__(
                target_server=target_server,
                command=command,
                job_user=job_user,
                agent_conn_id=agent_conn_id,
                timeout_seconds=timeout_seconds,
                poll_interval=poll_interval,
                deferrable=deferrable,
                skip_on_exit_code=skip_on_exit_code,
                **kwargs,
            )


    class AgentTmuxOperator(AgentJobOperator):
        """
        Runs a command in a tmux session that a person on the host can attach to. See ``AgentAsyncOperator``.

        :param fire_and_forget: return ``{"job_id": ..., "status": "submitted"}`` at once; ``AgentStatusSensor`` can wait
            for the job. It then outlives the task, whatever becomes of that
        :param timeout_seconds: by default 86400; with ``fire_and_forget`` by default none, because such jobs live for days
            beside a patient sensor, and none was ever enforced
        """

        job_mode = "tmux"

        def __init__(
            self,
            *,
            target_server: str,
            command: str,
            job_user: str | None = None,
            fire_and_forget: bool = True,
            agent_conn_id: str = DEFAULT_CONNECTION,
            timeout_seconds: int | None = None,
            poll_interval: int = 30,
            deferrable: bool | None = None,
            skip_on_exit_code: int | Collection[int] | None = None,
            **kwargs: Any,
        ) -> None:
            if timeout_seconds is None and not fire_and_forget:
                timeout_seconds = TMUX_TIMEOUT_SECONDS
            super().__init__(
                target_server=target_server,
                command=command,
                job_user=job_user,
                agent_conn_id=agent_conn_id,
                timeout_seconds=timeout_seconds,
                poll_interval=poll_interval,
                deferrable=deferrable,
                skip_on_exit_code=skip_on_exit_code,
                **kwargs,
            )
            self.fire_and_forget = fire_and_forget


    class AgentTmuxUnifiedOperator(AgentJobOperator):
        """
        Runs a command in a tmux session and waits for its end, for as long as that takes. See ``AgentTmuxOperator``.

        :param env: added to the command's environment
        """

        template_fields: Sequence[str] = (*AgentJobOperator.template_fields, "env")
        job_mode = "tmux"

        def __init__(
            self,
            *,
            target_server: str,
            command: str,
            job_user: str | None = None,
            agent_conn_id: str = DEFAULT_CONNECTION,
            poll_interval: int = 30,
            env: dict[str, str] | None = None,
            deferrable: bool | None = None,
            skip_on_exit_code: int | Collection[int] | None = None,
            **kwargs: Any,
        ) -> None:
            super().__init__(
                target_server=target_server,
                command=command,
                job_user=job_user,
                agent_conn_id=agent_conn_id,
                timeout_seconds=None,
                poll_interval=poll_interval,
                deferrable=deferrable,
                skip_on_exit_code=skip_on_exit_code,
                **kwargs,
            )
            self.env = env

        def _order(self) -> dict[str, Any]:
            order = super()._order()
            if self.env:
                order["env"] = {name: str(value) for name, value in self.env.items()}
            return order


    class AgentCancelOperator(BaseOperator):
        """
        Cancels a job and waits up to a minute for the proof that it has ended. A job that is over already is left as it is.

        :param target_server: as for the job
        :param job_id: the job; also one that was submitted to the agent of ``target_server`` itself
        :param agent_conn_id: the connection that names the gateway
        """

        template_fields: Sequence[str] = ("target_server", "job_id")
        operator_extra_links = (AgentJobLink(),)
        ui_color = "#f7e6e3"

        def __init__(
            self,
            *,
            target_server: str,
            job_id: str,
            agent_conn_id: str = DEFAULT_CONNECTION,
            **kwargs: Any,
        ) -> None:
            super().__init__(**kwargs)
            self.target_server = target_server
            self.job_id = job_id
            self.agent_conn_id = agent_conn_id

        def execute(self, context: Any) -> dict[str, Any]:
            at = JobTask(self, context, deferrable=False)
            with at.client() as client:
                job = at.find(client, self.job_id, self.target_server)
                at.note(job)
                if job["state"] not in OVER:
                    call = cancel_job(job["id"], "An Airflow task cancels it")
                    try:
                        patiently(lambda: client.send(call), READ_PATIENCE_SECONDS, at.tell)
                    except GatewayError as error:
                        if error.code != "job_is_over":
                            raise
                    proof = read_job(job["id"], wait=CANCEL_PROOF_SECONDS)
                    job = patiently(lambda: client.send(proof), READ_PATIENCE_SECONDS, at.tell)
            self.log.info("Job %s is %s", job["id"], job["state"])
            return {
                "job_id": job["id"],
                "status": "cancelled" if job["state"] in ("canceled", "canceling") else "finished",
                "return_code": job["return_code"],
                "state": job["state"],
                "outcome": job["outcome"],
            }


    # schedule_interval: ``schedule_interval`` on Airflow 3, where a DAG no longer takes it: an error that says what to do, or, if it is asked
    # for, the old meaning.
    #
    # It wraps the constructor of ``airflow.sdk.DAG``, for all DAG files that a process reads after this import. Airflow's own
    # error names neither the new word nor the tool that makes the change.


    SHIM_VARIABLE = "SLUICE_SCHEDULE_INTERVAL_SHIM"
    ADVICE = (
        "Airflow 3 calls schedule_interval schedule: change that one word in the DAG file (Airflow 2.4 and later "
        "understand it too). `ruff check --select AIR301 --fix DAG_FILE` does it"
    )


    def explain_schedule_interval() -> None:
        """Does nothing on Airflow 2, nor the second time."""
        if not AIRFLOW_3:
            return
        from airflow.sdk import DAG

        original: Any = DAG.__init__
        if getattr(original, "explains_schedule_interval", False):
            return

        @functools.wraps(original)
        def construct(self: Any, *args: Any, **kwargs: Any) -> None:
            if "schedule_interval" in kwargs:
                if os.environ.get(SHIM_VARIABLE) != "1":
                    raise TypeError(ADVICE)
                warnings.warn(ADVICE, DeprecationWarning, stacklevel=2)
                kwargs["schedule"] = kwargs.pop("schedule_interval")
            original(self, *args, **kwargs)

        construct.explains_schedule_interval = True  # type: ignore[attr-defined]
        DAG.__init__ = construct  # type: ignore[method-assign]


    # sensor: The sensor: waits for a job that another task has started. It never cancels it.


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
            at.go_on(event.get("printed"))
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


    # public: What DAG files may import: the same names from the package, from ``agent_operators`` and from the single file.


    explain_schedule_interval()


    from airflow.plugins_manager import AirflowPlugin


    class AgentOperatorsPlugin(AirflowPlugin):
        """Airflow 2 shows a link only if it knows its class; the package says so in its provider info."""

        name = "agent_operators"
        operator_extra_links = [AgentJobLink()]

__all__ = [
    "AgentAsyncOperator",
    "AgentCancelOperator",
    "AgentHook",
    "AgentJobLink",
    "AgentJobTrigger",
    "AgentStatusSensor",
    "AgentSyncOperator",
    "AgentTmuxOperator",
    "AgentTmuxUnifiedOperator",
]
