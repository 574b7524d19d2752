"""The gateway's HTTP API of batches (one command, many hosts) as this package uses it; see ``calls``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import quote

from airflow_provider_sluice.calls import Call, filters_of

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
