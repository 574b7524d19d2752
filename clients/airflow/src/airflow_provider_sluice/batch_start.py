"""
As ``start`` for a batch: a retry attaches to the batch of this generation of the task, or runs again only those of its
hosts that it should; a clear replaces it.

A retry of a part carries the labels of the try that asks for it and the unique key of the first batch, so that each
batch of the task is found and replaced like the first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from airflow_provider_sluice.batch_calls import (
    BATCH_OVER,
    Batch,
    list_batches,
    read_batch,
    retry_batch,
    submit_batch,
)
from airflow_provider_sluice.batch_words import describe_batch
from airflow_provider_sluice.calls import LONGEST_HOLD, Call, GatewayError
from airflow_provider_sluice.client import GatewayClient, patiently
from airflow_provider_sluice.identity import (
    AWAITED_BATCH,
    AWAITED_LABEL,
    GENERATION_LABEL,
    TASK_LABEL,
    TRY_LABEL,
    TaskIdentity,
)
from airflow_provider_sluice.start import SUBMIT_PATIENCE_SECONDS
from airflow_provider_sluice.versions import AirflowException, AirflowFailException

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
