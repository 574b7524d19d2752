"""
The gateway's HTTP API as this package uses it: what is sent, what an answer means. No socket here: the two clients,
one that blocks and one that does not, send the same calls.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_sluice.versions import AirflowException

if TYPE_CHECKING:
    import httpx

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
