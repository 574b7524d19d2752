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
        AgentBatchTrigger,
        AgentCancelOperator,
        AgentFanoutOperator,
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
    import re
    import ssl
    import time
    import uuid
    import warnings
    import weakref
    from airflow import __version__ as airflow_version
    from airflow.triggers.base import BaseTrigger, TriggerEvent
    from asgiref.sync import sync_to_async
    from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
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
    #: What a cancel is answered with that comes too late: nothing is wrong.
    TOO_LATE = ("job_is_over", "batch_is_over")


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
        return Call("GET", "/v1/jobs", params=filters_of(labels, states, page_token))


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


    def filters_of(labels: dict[str, str], states: tuple[str, ...], page_token: str | None) -> dict[str, Any]:
        """Of one page of a list."""
        params: dict[str, Any] = {"label": [f"{name}:{value}" for name, value in labels.items()], "page_size": 200}
        if states:
            params["state"] = list(states)
        if page_token:
            params["page_token"] = page_token
        return params


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


    # batch_calls: The gateway's HTTP API of batches (one command, many hosts) as this package uses it; see ``calls``.


    Batch = dict[str, Any]

    #: How the ids of batches begin.
    BATCH_ID_PREFIX = "batch_"
    #: States in which a batch is over.
    BATCH_OVER = ("succeeded", "failed", "stopped", "canceled")
    #: Those that a cancel would end, without the one where a cancel is under way.
    BATCH_AT_WORK = ("running", "paused", "stopping")
    #: Where the hosts of a batch stand in its counts: ends that are no success, the commonest first.
    ENDED_WRONG = ("failed", "timed_out", "canceled", "expired", "lost")


    def submit_batch(body: dict[str, Any], idempotency_key: str) -> Call:
        return Call("POST", "/v1/batches", body=body, headers={"Idempotency-Key": f'"{idempotency_key}"'})


    def retry_batch(batch_id: str, scope: Collection[str], labels: dict[str, str], idempotency_key: str) -> Call:
        """The same batch again, under its unique key, for just the hosts that stand so in its counts."""
        body = {"scope": sorted(scope), "labels": labels}
        headers = {"Idempotency-Key": f'"{idempotency_key}"'}
        return Call("POST", f"{batch_path(batch_id)}:retry", body=body, headers=headers)


    def read_batch(batch_id: str, *, wait: int = 0) -> Call:
        """
        :param wait: hold the answer until the batch is over, at most so many seconds. Never ``since``: a large batch
            changes many times a second
        """
        return Call("GET", batch_path(batch_id), params={"wait": wait} if wait else {}, hold=wait)


    def list_batches(labels: dict[str, str], *, states: tuple[str, ...] = (), page_token: str | None = None) -> Call:
        return Call("GET", "/v1/batches", params=filters_of(labels, states, page_token))


    def cancel_batch(batch_id: str, reason: str) -> Call:
        return Call("POST", f"{batch_path(batch_id)}:cancel", body={"reason": reason})


    def read_batch_output(batch_id: str) -> Call:
        """Hosts with the same end and the same output are one item, the largest group first."""
        return Call("GET", f"{batch_path(batch_id)}/output")


    def batch_path(batch_id: str) -> str:
        return f"/v1/batches/{quote(batch_id, safe='')}"


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


    # batch_words: A batch in words, and its result as a DAG sees it. Pure.


    #: Names of hosts in a result or an event are cut at so many characters.
    NAMES_LENGTH = 16_384
    #: Of the names in the message of a failure.
    QUOTED_NAMES_LENGTH = 2_000
    #: How many groups of hosts that wrote the same a failure quotes; and a log, and how many lines of each.
    QUOTED_GROUPS = 3
    SHOWN_GROUPS = 10
    SHOWN_LINES = 20
    #: Ends first, the bad ones right after the good ones.
    COUNTS_IN_ORDER = ("succeeded", *ENDED_WRONG, "canceling", "unreachable", "running", "queued", "unstarted")
    #: Outcomes that say no more than the state of the same name.
    SAID_BY_STATE = ("timeout", "canceled", "expired")

    Group = dict[str, Any]


    def counts_in_words(counts: dict[str, int]) -> str:
        """``110 succeeded, 2 failed, 8 running``"""
        present = [name for name in COUNTS_IN_ORDER if counts.get(name)]
        return ", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in present)


    def batch_heading(batch: Batch) -> str:
        """``stopped, as more than max_failures (5) ended wrong``"""
        because = batch["stopped_because"]
        state = str(batch["state"])
        if because:
            what = "ended wrong" if because == "max_failures" else "did not answer"
            state += f", as more than {because} ({batch[because]}) {what}"
        elif batch["awaits_wave"]:
            state += f", and waits to be resumed after wave {batch['wave']}"
        elif state == "canceled":
            state += f" by {batch['canceled_by'] or 'somebody'}"
        elif batch["waves"] and batch["ended_at"] is None:
            state += f", wave {batch['wave']}"
        return state


    def describe_batch(batch: Batch) -> str:
        """One line without a full stop."""
        counts = counts_in_words(batch["counts"])
        return f"Batch {batch['id']}, {batch_heading(batch)}: {counts} of {batch['total']} hosts"


    def failed_hosts(groups: Iterable[Group]) -> str:
        """Those that ended wrong, folded: ``web[001-118],db1``. Cut where it is too long for a result."""
        names = [str(group["hosts"]) for group in groups if group["state"] in ENDED_WRONG]
        # A host whose output is like no other's is a group of its own: hundreds of them are one range all the same.
        text = fold_names(names)
        return text if len(text) <= NAMES_LENGTH else f"{text[: text.rfind(',', 0, NAMES_LENGTH - 3)]}..."


    def batch_result(batch: Batch, groups: Iterable[Group]) -> dict[str, Any]:
        return {
            "batch_id": batch["id"],
            "status": "finished",
            "state": batch["state"],
            "counts": batch["counts"],
            "total": batch["total"],
            "stopped_because": batch["stopped_because"],
            "retry_of": batch["retry_of"],
            "failed_hosts": failed_hosts(groups),
        }


    def fold_names(texts: Iterable[str]) -> str:
        """
        Names that differ in their last number only become a range; what is folded already, and addresses, stay as they are.
        """
        numbers: dict[tuple[str, int, str], list[int]] = {}
        folded: list[str] = []
        for text in texts:
            found = re.fullmatch(r"([^\[\],:]*?)(\d{1,15})([^\[\],:\d]*)", text)
            if found:
                before, digits, after = found.groups()
                numbers.setdefault((before, len(digits), after), []).append(int(digits))
            else:
                folded.append(text)
        for (before, width, after), them in numbers.items():
            folded.append(f"{before}{ranges_of(sorted(set(them)), width)}{after}")
        return ",".join(folded)


    def ranges_of(numbers: list[int], width: int) -> str:
        """Of sorted numbers of so many digits: ``07`` or ``[001-118,120]``."""
        ranges: list[list[int]] = []
        for number in numbers:
            if ranges and number == ranges[-1][1] + 1:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])
        texts = [f"{first:0{width}}" if first == last else f"{first:0{width}}-{last:0{width}}" for first, last in ranges]
        return texts[0] if len(numbers) == 1 else f"[{','.join(texts)}]"


    def output_lines(groups: Sequence[Group]) -> list[str]:
        """What hosts said, for a log: the largest groups, the end of each."""
        ended = [group for group in groups if group["stdout"] is not None or group["state"] in ENDED_WRONG]
        lines = [line for group in ended[:SHOWN_GROUPS] for line in lines_of(group, SHOWN_LINES)]
        if len(ended) > SHOWN_GROUPS:
            lines.append(f"... and {len(ended) - SHOWN_GROUPS} more that ended or wrote otherwise")
        return lines


    def explain_failure(batch: Batch, groups: Sequence[Group], page: str) -> str:
        wrong = [group for group in groups if group["state"] in ENDED_WRONG]
        lines = [f"{describe_batch(batch)} ({page})"]
        if wrong:
            names = failed_hosts(groups)
            cut = names if len(names) <= QUOTED_NAMES_LENGTH else f"{names[:QUOTED_NAMES_LENGTH]}..."
            lines.append(f"Ended wrong: {cut}")
        lines += [line for group in wrong[:QUOTED_GROUPS] for line in lines_of(group, QUOTED_LINES)]
        return "\n".join(lines)


    def why_of(group: Group) -> str:
        """What its state leaves open: `` (3)``, or ``, rejected: the host has no user etl``."""
        if group["state"] == "succeeded":
            return ""
        code = "" if group["return_code"] is None else f" ({group['return_code']})"
        # A gateway of an earlier version does not say it.
        outcome = group.get("outcome")
        if outcome in (None, "exit", "signal"):
            return code
        kind = "" if outcome in SAID_BY_STATE else f", {outcome.replace('_', ' ')}"
        message = "" if group["message"] is None else f": {' '.join(group['message'].split())}"
        return f"{kind}{code}{message}"


    def lines_of(group: Group, most: int) -> list[str]:
        """``== web[001-118] (118): failed (3)``, then the end of what they wrote."""
        lines = [f"== {group['hosts']} ({group['count']}): {group['state'].replace('_', ' ')}{why_of(group)}"]
        for stream in ("stdout", "stderr"):
            written = (group[stream] or "").rstrip().splitlines()
            lines += [f"[{stream}] {line}" for line in written[-most:]]
        return lines


    # client: The two ways to send a call to a gateway: blocking, from a task, and awaited, from a triggerer.
    #
    # A request is repeated only by ``patiently``, and only after an answer that decides nothing. All calls of this package
    # bear repetition: a submit carries its ``Idempotency-Key``, a second cancel is harmless, the rest reads.


    Answer = TypeVar("Answer")

    #: Seconds until a connection must stand, and for what an answer takes beyond the time that it may be held.
    CONNECT_SECONDS = 10.0
    ANSWER_SECONDS = 20.0
    LARGE_ANSWER_BYTES = 1_000_000


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
            # Each batch that is waited for holds one; all jobs together hold one or two.
            limits = httpx.Limits(max_connections=512, max_keepalive_connections=8)
            self._http = httpx.AsyncClient(**client_options(address), limits=limits)

        async def send(self, call: Call) -> Any:
            """See ``GatewayClient.send``."""
            response = await self._response(call)
            if len(response.content) < LARGE_ANSWER_BYTES:
                return read_json(response, self.address.url)
            # Read here, it would hold up all other triggers.
            return await asyncio.to_thread(read_json, response, self.address.url)

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
    #: What it says of a batch that a task waits for, and so of its jobs: they are canceled with it and not one by one.
    AWAITED_BATCH = "batch"


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


    # batch_start: As ``start`` for a batch: a retry attaches to the batch of this generation of the task, or runs again only those of its
    # hosts that it should; a clear replaces it.
    #
    # A retry of a part carries the labels of the try that asks for it and the unique key of the first batch, so that each
    # batch of the task is found and replaced like the first.


    #: Which hosts a retry is for, unless the task says: a lost job may still run, so it is only run again on request.
    RETRIED = ("failed", "timed_out", "expired", "canceled", "unstarted")
    #: How long a try waits for the proof that the batch of an earlier one has been canceled, in seconds.
    PROOF_SECONDS = 300.0
    #: Refusals that only say that another process was faster: the list is read again.
    OVERTAKEN = ("idempotency_key_reused", "batch_not_over", "unique_key_in_use")


    def start_or_attach_batch(
        client: GatewayClient,
        identity: TaskIdentity,
        order: dict[str, Any],
        *,
        retried: Collection[str],
        tell: Callable[[str], None],
    ) -> Batch:
        """
        :param order: what to run, and on which hosts: the fields of a submit without labels and keys
        :param retried: the hosts that a retry is for, by where they stand; empty: all of them, succeeded or not
        :param tell: hears in one sentence what was done
        :raises AirflowException: if what is to be run again cannot be told
        :raises GatewayError: if the gateway refuses the batch, or does not answer for too long
        """
        for last in (False, False, False, True):
            batches = batches_of_generation(client, identity, tell)
            newest = batches[0] if batches else None
            if newest and retried and newest["state"] == "canceling":
                newest = proven_over(client, newest, tell)
            if newest and is_own(newest, identity):
                tell(f"Batch {newest['id']} of this task is {newest['state']}: attached to it, nothing was started")
                return newest
            key = f"{identity.key}:{identity.generation}:batch:{len(batches)}"
            call = retry_of(newest, identity, retried, key) if newest and retried else first_of(order, identity, key)
            try:
                batch: Batch = patiently(partial(client.send, call), SUBMIT_PATIENCE_SECONDS, tell)
            except GatewayError as error:
                if error.code not in OVERTAKEN or last:
                    raise
                tell("A submit of an earlier try has come through in between: looking again")
                continue
            part = f", those of batch {newest['id']} that are to run again" if newest and retried else ""
            tell(f"Submitted batch {batch['id']} for {batch['total']} hosts{part}")
            return batch
        raise AssertionError("unreachable")


    def is_own(newest: Batch, identity: TaskIdentity) -> bool:
        """What this try is about: under way, or done well, or the very batch of this try, whose end is to be reported."""
        if newest["state"] == "canceling":
            return False
        if newest["state"] not in BATCH_OVER or newest["state"] == "succeeded":
            return True
        return bool(newest["labels"].get(TRY_LABEL) == str(identity.try_number))


    def first_of(order: dict[str, Any], identity: TaskIdentity, key: str) -> Call:
        body = {**order, "labels": labels_of(identity), "unique_key": identity.key, "on_duplicate": "replace"}
        return submit_batch(body, key)


    def retry_of(before: Batch, identity: TaskIdentity, retried: Collection[str], key: str) -> Call:
        """:raises AirflowFailException: if none of its hosts may be run again"""
        scope = [name for name in retried if before["counts"].get(name)]
        if not scope:
            raise AirflowFailException(
                f"{describe_batch(before)}: nothing is left that may be run again. retry_only_failed says what may; where "
                "a host is lost, the command may still run there"
            )
        return retry_batch(before["id"], scope, labels_of(identity), key)


    def proven_over(client: GatewayClient, batch: Batch, tell: Callable[[str], None]) -> Batch:
        """:raises AirflowException: if that takes too long: which of its hosts to run again is not known before"""
        tell(f"Batch {batch['id']} of an earlier try is being canceled: waiting for the proof")
        give_up_at = time.monotonic() + PROOF_SECONDS
        ask = partial(client.send, read_batch(batch["id"], wait=LONGEST_HOLD))
        while batch["state"] not in BATCH_OVER:
            if time.monotonic() > give_up_at:
                raise AirflowException(
                    f"Batch {batch['id']} of an earlier try is still being canceled on {batch['counts']['canceling']} hosts"
                )
            batch = patiently(ask, SUBMIT_PATIENCE_SECONDS, tell)
        return batch


    def batches_of_generation(client: GatewayClient, identity: TaskIdentity, tell: Callable[[str], None]) -> list[Batch]:
        """Newest first."""
        labels = {TASK_LABEL: identity.key, GENERATION_LABEL: identity.generation}
        return patiently(lambda: all_batches(client, labels), SUBMIT_PATIENCE_SECONDS, tell)


    def all_batches(client: GatewayClient, labels: dict[str, str]) -> list[Batch]:
        """With these labels, newest first."""
        batches: list[Batch] = []
        page_token = None
        while True:
            page = client.send(list_batches(labels, page_token=page_token))
            batches.extend(page["items"])
            page_token = page["next_page_token"]
            if page_token is None:
                return batches


    def labels_of(identity: TaskIdentity) -> dict[str, str]:
        return {**identity.labels(awaited=True), AWAITED_LABEL: AWAITED_BATCH}


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


    # reconcile: Cancels jobs and batches whose tasks are over: the kills that reach no hook of Airflow's, such as one while no triggerer
    # is up.
    #
    # Runs in a triggerer while tasks wait there. It acts only on what Airflow says twice, a minute apart, and only on what a
    # task was to wait for: what Airflow does not know, or does not answer, is left alone.


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
            #: Since when the task of a job or a batch has been seen to be over.
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
            """What is said of jobs here goes for batches, too: to Airflow they are the same."""
            over = [job["id"] for job in await self._jobs_of_finished_tasks()]
            now = time.monotonic()
            self._over_since = {job_id: self._over_since.get(job_id, now) for job_id in over}
            for job_id, since in self._over_since.items():
                if now - since >= ROUND_SECONDS * 0.9:
                    await self._cancel(job_id)

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
            instance = {INSTANCE_LABEL: self._client.address.instance}
            jobs = partial(list_jobs, {**instance, AWAITED_LABEL: "true"}, states=RUNNING_STATES)
            batches = partial(list_batches, {**instance, AWAITED_LABEL: AWAITED_BATCH}, states=BATCH_AT_WORK)
            return [*await self._all(jobs), *await self._all(batches)]

        async def _all(self, page_of: Callable[..., Call]) -> list[Job]:
            items: list[Job] = []
            page_token = None
            while True:
                page = await self._client.send(page_of(page_token=page_token))
                items.extend(page["items"])
                page_token = page["next_page_token"]
                if page_token is None:
                    return items

        async def _cancel(self, job_id: str) -> None:
            cancel = cancel_batch if job_id.startswith(BATCH_ID_PREFIX) else cancel_job
            reconcile_log.warning("%s runs on though its Airflow task is over: canceling it", job_id)
            try:
                await self._client.send(cancel(job_id, "The Airflow task is over"))
            except GatewayError as error:
                if error.code not in TOO_LATE:
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


    # waiting_trigger: What all triggers do: wait for one thing of a gateway until it is over or their deadline is there, and cancel it if the
    # task is killed.
    #
    # Their arguments are kept in Airflow's database and shown: no key is among them. They fire exactly one event, small,
    # which names what is waited for; whoever resumes reads it anew.


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


    # batch_trigger: The trigger of one batch: one held request for all of its hosts, and a line about how it goes now and then.


    #: Between two lines about a batch, in seconds: the first, and what that grows to.
    FIRST_LINE_SECONDS = 30.0
    LONGEST_LINE_SECONDS = 600.0


    class AgentBatchTrigger(WaitingTrigger):
        """
        Fires ``{"status": ..., "batch_id": ...}``: ``over``, with ``state``, ``counts`` and ``failed_hosts``; ``timeout``,
        with ``reason``; or ``unknown``.

        :param batch_id: the gateway's id of the batch
        :param agent_conn_id: the connection that names the gateway
        :param deadline: when to give up, in seconds since 1970: another host may go on with this trigger
        :param deadline_reason: what the deadline is, for people
        :param cancel_on_kill: whether the batch is canceled when the task is killed
        """

        def __init__(
            self,
            batch_id: str,
            agent_conn_id: str,
            deadline: float | None = None,
            deadline_reason: str = "",
            cancel_on_kill: bool = False,
        ) -> None:
            super().__init__(f"Batch {batch_id}", agent_conn_id, deadline, deadline_reason, cancel_on_kill)
            self.batch_id = batch_id
            self._progress = Progress(self._say)

        def serialize(self) -> tuple[str, dict[str, Any]]:
            arguments = {
                "batch_id": self.batch_id,
                "agent_conn_id": self.agent_conn_id,
                "deadline": self.deadline,
                "deadline_reason": self.deadline_reason,
                "cancel_on_kill": self.cancel_on_kill,
            }
            # As for AgentJobTrigger.
            return "agent_operators.AgentBatchTrigger", arguments

        async def run(self) -> AsyncIterator[TriggerEvent]:
            event = await self._end_or_deadline()
            self._fired = True
            yield TriggerEvent({**event, "batch_id": self.batch_id})

        async def _ask(self, gateway: Gateway, seconds: float) -> dict[str, Any] | None:
            try:
                batch: Batch = await gateway.client.send(read_batch(self.batch_id, wait=max(1, round(seconds))))
            except GatewayError as error:
                if error.status == 404:
                    raise JobUnknown(str(error)) from error
                raise
            if batch["state"] not in BATCH_OVER:
                self._progress.tell(batch)
                return None
            groups = []
            if batch["state"] != "succeeded":
                groups = (await gateway.client.send(read_batch_output(self.batch_id)))["items"]
            return {
                "status": "over",
                "state": batch["state"],
                "counts": batch["counts"],
                "failed_hosts": failed_hosts(groups),
            }

        def _cancel_call(self, reason: str) -> Call:
            return cancel_batch(self.batch_id, reason)


    class Progress:
        """Lines about how a batch goes, ever further apart. :param write: takes one line"""

        def __init__(self, write: Callable[[str], None]) -> None:
            self._write = write
            self._line = ""
            self._next_at = 0.0
            self._pause = FIRST_LINE_SECONDS

        def tell(self, batch: Batch) -> None:
            line = describe_batch(batch)
            now = time.monotonic()
            if line == self._line or now < self._next_at:
                return
            self._write(line)
            self._line, self._next_at = line, now + self._pause
            self._pause = min(self._pause * 2, LONGEST_LINE_SECONDS)


    # links: The link from a task to its job.


    #: The XComs that a task pushes right after its submit, before it waits.
    JOB_ID_XCOM = "agent_job_id"
    JOB_URL_XCOM = "agent_job_url"
    BATCH_ID_XCOM = "agent_batch_id"
    #: Pushed at the end of a batch, however that went.
    BATCH_RESULT_XCOM = "agent_batch_result"


    class AgentJobLink(BaseOperatorLink):
        name = "Agent job"

        @property
        def xcom_key(self) -> str:
            """Airflow 3 reads the address there itself, also while the task runs."""
            return JOB_URL_XCOM

        def get_link(self, operator: Any, *, ti_key: Any) -> str:
            return XCom.get_value(key=JOB_URL_XCOM, ti_key=ti_key) or ""


    # work_task: What all tasks have in common that are about something at a gateway, a job or a batch ("work"): they wait for it in the
    # worker or in the triggerer, find it again however they are called, and cancel it if they should.


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


    # batch_task: What an operator does with its batch: waits for it, says how it goes, and says what hosts said at its end.


    class BatchTask(WorkTask):
        kind = "batch"
        id_xcom = BATCH_ID_XCOM

        def __init__(self, task: Any, context: Any, *, deferrable: bool | None) -> None:
            super().__init__(task, context, deferrable=deferrable)
            self._progress = Progress(self._say)

        def is_over(self, work: Batch) -> bool:
            return work["state"] in BATCH_OVER

        def path(self, work_id: str) -> str:
            return batch_path(work_id)

        def read_call(self, work_id: str) -> Call:
            return read_batch(work_id)

        def cancel_call(self, work_id: str, reason: str) -> Call:
            return cancel_batch(work_id, reason)

        def active(self, client: GatewayClient, labels: dict[str, str]) -> list[str]:
            return [batch["id"] for batch in all_batches(client, labels) if not self.is_over(batch)]

        def trigger(self, work: Batch, deadline: float | None, reason: str, *, cancel_on_kill: bool) -> AgentBatchTrigger:
            return AgentBatchTrigger(
                batch_id=work["id"],
                agent_conn_id=self.task.agent_conn_id,
                deadline=deadline,
                deadline_reason=reason,
                cancel_on_kill=cancel_on_kill,
            )

        def wait_here(self, client: GatewayClient, work: Batch, until: float) -> Batch:
            """See ``WorkTask``. One held request at a time."""
            pauses = growing_pauses()
            while not self.is_over(work) and not self.killed:
                rest = min(float(LONGEST_HOLD), until - time.time())
                if rest <= 0:
                    break
                try:
                    work = client.send(read_batch(work["id"], wait=max(1, round(rest))))
                    pauses = growing_pauses()
                except GatewayUnavailable as error:
                    self.tell(f"{error}; the batch runs on, and is waited for")
                    time.sleep(min(max(next(pauses), error.retry_after), max(rest, 1.0)))
                    continue
                if not self.is_over(work):
                    self._progress.tell(work)
            if self.killed:
                # As for a job.
                raise AirflowException(f"The task was killed while it waited for batch {work['id']}")
            return work

        def conclude(self, client: GatewayClient, batch: Batch, retried: Collection[str]) -> dict[str, Any]:
            """
            The task's result, which is also pushed as an XCom of its own: a task that fails returns none.

            :param retried: see ``start_or_attach_batch``
            :raises AirflowFailException: if hosts are left that no retry is for
            :raises AirflowException: if the batch did not succeed
            """
            groups = self._output(client, batch)
            self.log.info("%s", describe_batch(batch))
            for line in output_lines(groups):
                self.log.info("%s", line)
            result = batch_result(batch, groups)
            self.context["ti"].xcom_push(key=BATCH_RESULT_XCOM, value=result)
            if batch["state"] != "succeeded":
                raise AirflowException(explain_failure(batch, groups, self.page(batch["id"])))
            left_out = self._left_out(client, batch, retried)
            if left_out:
                raise AirflowFailException(f"Batch {batch['id']} succeeded, but {'; '.join(left_out)}")
            return result

        def _output(self, client: GatewayClient, batch: Batch) -> list[Group]:
            ask = partial(client.send, read_batch_output(batch["id"]))
            groups: list[Group] = patiently(ask, READ_PATIENCE_SECONDS, self.tell)["items"]
            return groups

        def _left_out(self, client: GatewayClient, batch: Batch, retried: Collection[str]) -> list[str]:
            """What earlier batches ended with that no retry was for, such as hosts of which nothing is known."""
            left_out: list[str] = []
            while batch["retry_of"]:
                ask = partial(client.send, read_batch(batch["retry_of"]))
                try:
                    before: Batch = patiently(ask, READ_PATIENCE_SECONDS, self.tell)
                except GatewayError as error:
                    if error.status != 404:
                        raise
                    break
                if before["total"] - before["counts"]["succeeded"] > batch["total"]:
                    left_out += [
                        f"{group['hosts']}, {group['state']} in {before['id']}, was not run again"
                        for group in self._output(client, before)
                        if group["state"] not in ("succeeded", *retried)
                    ]
                batch = before
            return left_out


    # work_operator: What all operators that start something do: submit or attach, wait, conclude; and end it however the task is ended.
    #
    # Only this class defines what Airflow calls (``execute`` and the rest): on 2.11 an ``execute`` that calls that of its
    # base class is taken for a call from outside a task.


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


    # fanout_operator: The operator for many hosts: one task, one batch of the gateway, however many hosts there are.


    class AgentFanoutOperator(AgentWorkOperator):
        """
        Runs a command on many hosts, so many at once, and waits for all of them without holding a worker. Succeeds if all
        succeeded. A number of hosts is an int, or a share of all of them such as ``"10%"``.

        :param targets: names of hosts at the gateway or ``host:port``; folded ones will do: ``web[001-120]``, ``db[1,3]``
        :param selector: instead of targets or besides them: the registered hosts with all of these labels; or ``"all"``
        :param command: a shell command line
        :param job_user: the user to run as; None: the agent's own, root by custom
        :param exclude: as ``targets``: not these
        :param max_parallel: how many hosts may be at it at once; by default 50
        :param waves: the size of each wave, the last repeats: ``[1, "10%", "50%"]``. The next one begins when the one
            before is over, and within the limits
        :param wave_pause_seconds: between two waves; None: until somebody resumes the batch
        :param max_failures: when more than so many hosts have ended wrong, nothing new is started
        :param max_unreachable: when more than so many hosts do not answer, nothing new is started
        :param on_limit: what happens then: ``stop``, ``pause`` (until somebody resumes it) or ``cancel`` (what runs, too)
        :param timeout_seconds: how long the command may run on each host; None: without a limit. For the whole there is
            ``execution_timeout``
        :param start_deadline_seconds: how long a host that does not answer may keep its turn; by default 600
        :param env: added to the command's environment
        :param retry_only_failed: a retry of the task runs the command again only where it has not succeeded, and not where
            nothing is known of it (``lost``), because it may still run there. A collection of states: just on hosts that
            stand so. False: on all hosts, as a clear of the task always does
        :param agent_conn_id: the connection that names the gateway
        :param deferrable: whether the task leaves its worker; by default as the connection says, else yes
        """

        template_fields: Sequence[str] = (
            "targets",
            "selector",
            "command",
            "job_user",
            "exclude",
            "max_parallel",
            "waves",
            "max_failures",
            "max_unreachable",
            "env",
        )

        def __init__(
            self,
            *,
            targets: str | Sequence[str] | None = None,
            selector: dict[str, str] | str | None = None,
            command: str,
            job_user: str | None = None,
            exclude: str | Sequence[str] | None = None,
            max_parallel: int | str | None = None,
            waves: Sequence[int | str] | None = None,
            wave_pause_seconds: int | None = 0,
            max_failures: int | str | None = None,
            max_unreachable: int | str | None = None,
            on_limit: str = "stop",
            timeout_seconds: int | None = 3600,
            start_deadline_seconds: int | None = None,
            env: dict[str, str] | None = None,
            retry_only_failed: bool | Collection[str] = True,
            agent_conn_id: str = DEFAULT_CONNECTION,
            deferrable: bool | None = None,
            **kwargs: Any,
        ) -> None:
            super().__init__(agent_conn_id=agent_conn_id, deferrable=deferrable, **kwargs)
            self.targets = targets
            self.selector = selector
            self.command = command
            self.job_user = job_user
            self.exclude = exclude
            self.max_parallel = max_parallel
            self.waves = waves
            self.wave_pause_seconds = wave_pause_seconds
            self.max_failures = max_failures
            self.max_unreachable = max_unreachable
            self.on_limit = on_limit
            self.timeout_seconds = timeout_seconds
            self.start_deadline_seconds = start_deadline_seconds
            self.env = env
            self.retry_only_failed = retry_only_failed

        def _begin(self, context: Any) -> BatchTask:
            return BatchTask(self, context, deferrable=self.deferrable)

        def _start(self, client: GatewayClient, identity: TaskIdentity) -> Batch:
            return start_or_attach_batch(client, identity, self._order(), retried=self._retried(), tell=self._inform)

        def _conclude(self, at: Any, client: GatewayClient, work: Batch) -> dict[str, Any]:
            result: dict[str, Any] = at.conclude(client, work, self._retried())
            return result

        def _retried(self) -> Collection[str]:
            if isinstance(self.retry_only_failed, bool):
                return RETRIED if self.retry_only_failed else ()
            return self.retry_only_failed

        def _order(self) -> dict[str, Any]:
            asked: dict[str, Any] = {
                "targets": names_in(self.targets),
                "selector": self.selector or None,
                "exclude": names_in(self.exclude),
                "max_parallel": counted(self.max_parallel),
                "waves": [counted(size) for size in self.waves] if self.waves else None,
                "max_failures": counted(self.max_failures),
                "max_unreachable": counted(self.max_unreachable),
                "timeout_seconds": self.timeout_seconds,
                "start_deadline_seconds": self.start_deadline_seconds,
                "env": {name: str(value) for name, value in self.env.items()} if self.env else None,
            }
            return {
                "command": self.command,
                "job_user": self.job_user or None,
                "on_limit": self.on_limit,
                "wave_pause_seconds": self.wave_pause_seconds,
                **{name: value for name, value in asked.items() if value is not None},
            }


    def names_in(names: str | Sequence[str] | None) -> list[str] | None:
        """One text may hold several names with commas between them; the gateway takes them apart."""
        if names is None or isinstance(names, str):
            return [names] if names else None
        return [str(name) for name in names]


    def counted(share: int | str | None) -> int | str | None:
        """A number that went through a template is one all the same."""
        return int(share) if isinstance(share, str) and share.strip().isdigit() else share


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


    # trigger: The trigger of one job: writes its output into the task's log while it waits.


    #: Pauses between two looks at a job's output, in seconds.
    FIRST_LOOK_SECONDS = 5.0
    LONGEST_LOOK_SECONDS = 30.0


    class AgentJobTrigger(WaitingTrigger):
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
            super().__init__(f"Job {job_id}", agent_conn_id, deadline, deadline_reason, cancel_on_kill)
            self.job_id = job_id
            self.printed = printed

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
            self._fired = True
            yield TriggerEvent({**event, "job_id": self.job_id, "printed": output.printed})

        async def _ask(self, gateway: Gateway, seconds: float) -> dict[str, Any] | None:
            job = await self._wait(gateway, seconds)
            if job["state"] in OVER:
                return {"status": "over", "state": job["state"]}
            if job["state"] == "unreachable":
                self._tell(f"{job['target_server']} has not answered since {job['unreachable_since']}; waiting on")
            return None

        def _cancel_call(self, reason: str) -> Call:
            return cancel_job(self.job_id, reason)

        async def _wait(self, gateway: Gateway, seconds: float) -> Job:
            """Together with all others; after so many seconds asks for this job alone."""
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


    # job_task: What the operators and the sensor have in common that are about one job: its output goes into the task's log, and it
    # may be one that somebody submitted to an agent.


    class JobTask(WorkTask):
        kind = "job"
        id_xcom = JOB_ID_XCOM

        def __init__(self, task: Any, context: Any, *, deferrable: bool | None) -> None:
            super().__init__(task, context, deferrable=deferrable)
            self.output = OutputLog(self._say)

        def is_over(self, work: Job) -> bool:
            return is_over(work)

        def path(self, work_id: str) -> str:
            return job_path(work_id)

        def read_call(self, work_id: str) -> Call:
            return read_job(work_id)

        def cancel_call(self, work_id: str, reason: str) -> Call:
            return cancel_job(work_id, reason)

        def active(self, client: GatewayClient, labels: dict[str, str]) -> list[str]:
            return [job["id"] for job in client.list(labels) if not is_over(job)]

        def trigger(self, work: Job, deadline: float | None, reason: str, *, cancel_on_kill: bool) -> AgentJobTrigger:
            return AgentJobTrigger(
                job_id=work["id"],
                agent_conn_id=self.task.agent_conn_id,
                deadline=deadline,
                deadline_reason=reason,
                cancel_on_kill=cancel_on_kill,
                printed=self.output.printed,
            )

        def wait_here(self, client: GatewayClient, work: Job, until: float) -> Job:
            """See ``WorkTask``."""
            job = wait_in_worker(client, work, until=until, output=self.output, tell=self.tell, stopped=lambda: self.killed)
            if self.killed:
                # Without it Airflow 3 would take the end of a canceled wait for a success.
                raise AirflowException(f"The task was killed while it waited for job {job['id']}")
            return job

        def take_up(self, event: dict[str, Any]) -> None:
            self.output = OutputLog(self._say, event.get("printed"))

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


    def is_over(job: Job) -> bool:
        return job["state"] in OVER


    # job_operator: What the operators share that run one command on one host.


    #: The gateway ends a job at its timeout, and says how it ended; a task gives up on its own only so long after it.
    GRACE_SECONDS = 15.0


    class AgentJobOperator(AgentWorkOperator):
        """What the others share. Not for DAGs."""

        template_fields: Sequence[str] = ("target_server", "command", "job_user")

        #: How the job runs on its host: ``mode`` of a submit.
        job_mode = "async"

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
            super().__init__(agent_conn_id=agent_conn_id, deferrable=deferrable, **kwargs)
            self.target_server = target_server
            self.command = command
            self.job_user = job_user
            self.timeout_seconds = timeout_seconds
            self.poll_interval = poll_interval
            self.skip_on_exit_code = exit_codes(skip_on_exit_code)

        def _begin(self, context: Any) -> JobTask:
            return JobTask(self, context, deferrable=self.deferrable)

        def _start(self, client: GatewayClient, identity: TaskIdentity) -> Job:
            awaited = not self.fire_and_forget
            return start_or_attach(client, identity, self._order(), awaited=awaited, tell=self._inform)

        def _conclude(self, at: Any, client: GatewayClient, work: Job) -> dict[str, Any]:
            result: dict[str, Any] = at.conclude(client, work, self.skip_on_exit_code)
            return result

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

        def _limits(self) -> list[tuple[float, str]]:
            if self.timeout_seconds is None:
                return []
            reason = f"it was not over {self.timeout_seconds} s after its submit"
            return [(self.timeout_seconds + GRACE_SECONDS, reason)]


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


    # public: What DAG files may import: the same names from the package, from ``agent_operators`` and from the single file.


    explain_schedule_interval()


    from airflow.plugins_manager import AirflowPlugin


    class AgentOperatorsPlugin(AirflowPlugin):
        """Airflow 2 shows a link only if it knows its class; the package says so in its provider info."""

        name = "agent_operators"
        operator_extra_links = [AgentJobLink()]

__all__ = [
    "AgentAsyncOperator",
    "AgentBatchTrigger",
    "AgentCancelOperator",
    "AgentFanoutOperator",
    "AgentHook",
    "AgentJobLink",
    "AgentJobTrigger",
    "AgentStatusSensor",
    "AgentSyncOperator",
    "AgentTmuxOperator",
    "AgentTmuxUnifiedOperator",
]
