"""
The rule that makes a retry no second start: look for the job of this generation of the task, and only start one where
there is none to attach to.

The list shows every acknowledged job at once. Between the list and the submit another process may act; then the
``Idempotency-Key``, which counts the jobs of the generation, makes both submits one job, or is refused because their
bodies differ, and the list is read again. ``replace`` starts nothing before the old job is proven over.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from airflow_provider_sluice.calls import OVER, GatewayError, Job, submit_job
from airflow_provider_sluice.client import GatewayClient, patiently
from airflow_provider_sluice.identity import GENERATION_LABEL, TASK_LABEL, TRY_LABEL, TaskIdentity

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
