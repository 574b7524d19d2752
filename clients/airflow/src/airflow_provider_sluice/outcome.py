"""
What the end of a job means for its task: the result that a DAG sees, or a failure that says what happened.

``status`` is ``"finished"`` as it always was, because DAGs compare it; the gateway's own words are beside it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from airflow_provider_sluice.calls import Job
from airflow_provider_sluice.versions import AirflowException, AirflowFailException, AirflowSkipException

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
