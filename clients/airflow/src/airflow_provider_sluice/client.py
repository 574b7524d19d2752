"""
The two ways to send a call to a gateway: blocking, from a task, and awaited, from a triggerer.

A request is repeated only by ``patiently``, and only after an answer that decides nothing. All calls of this package
bear repetition: a submit carries its ``Idempotency-Key``, a second cancel is harmless, the rest reads.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx

from airflow_provider_sluice.address import GatewayAddress
from airflow_provider_sluice.calls import (
    Call,
    GatewayError,
    GatewayUnavailable,
    Job,
    OutputRange,
    check_response,
    list_jobs,
    output_range,
    read_json,
    read_output,
)

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
