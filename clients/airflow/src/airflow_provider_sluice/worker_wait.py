"""Waiting inside a worker: one long-poll at a time, the output written into the task's log in between."""

from __future__ import annotations

import time
from collections.abc import Callable

from airflow_provider_sluice.calls import LONGEST_HOLD, OVER, GatewayError, GatewayUnavailable, Job, read_job
from airflow_provider_sluice.client import GatewayClient, growing_pauses
from airflow_provider_sluice.output import OutputLog

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
