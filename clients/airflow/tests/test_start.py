"""The rule that an Airflow retry is not a second start, against a real gateway."""

from __future__ import annotations

import pytest
from client_under_test import Run, find
from gateway import HOST, until

GatewayClient = find("GatewayClient")
identify = find("identify")
read_address = find("read_address")
start_or_attach = find("start_or_attach")


@pytest.fixture
def client(gateway):
    with find("AgentHook")().get_conn() as client:
        yield client


def submit(client, context, command="sleep 30"):
    said: list[str] = []
    order = {"target_server": HOST, "command": command, "mode": "async"}
    identity = identify(context, "tests")
    job = start_or_attach(client, identity, order, awaited=True, tell=said.append)
    return job, said


def jobs_of(gateway, context):
    return gateway.jobs(airflow_ti=identify(context, "tests").key)


def test_a_retry_attaches_to_the_job_that_still_runs(gateway, client):
    run = Run()
    first, _ = submit(client, run.context(try_number=1))
    second, said = submit(client, run.context(try_number=2))
    assert second["id"] == first["id"]
    assert "attached" in said[-1]
    assert len(jobs_of(gateway, run.context())) == 1


def test_a_retry_takes_the_success_of_an_earlier_try_that_nobody_saw(gateway, client):
    run = Run()
    first, _ = submit(client, run.context(try_number=1), "true")
    gateway.over(first["id"])
    second, _ = submit(client, run.context(try_number=2), "true")
    assert second["id"] == first["id"]


def test_the_same_try_reports_its_failed_job_and_the_next_one_starts_another(gateway, client):
    run = Run()
    first, _ = submit(client, run.context(try_number=1), "exit 1")
    gateway.over(first["id"])
    again, _ = submit(client, run.context(try_number=1), "exit 1")
    assert again["id"] == first["id"]
    second, _ = submit(client, run.context(try_number=2), "exit 1")
    assert second["id"] != first["id"]
    assert len(jobs_of(gateway, run.context())) == 2


def test_a_clear_starts_anew_and_only_once_the_old_job_is_over(gateway, client):
    run = Run()
    first, _ = submit(client, run.context(try_number=1, max_tries=0))
    until(lambda: gateway.over(first["id"], 1)["state"] == "running")
    second, _ = submit(client, run.context(try_number=2, max_tries=1), "true")
    assert second["id"] != first["id"]
    ended, started = gateway.over(first["id"]), gateway.over(second["id"])
    assert ended["state"] == "canceled"
    assert started["state"] == "succeeded"
    assert started["started_at"] >= ended["ended_at"]


def test_a_clear_of_a_task_that_succeeded_runs_it_again(gateway, client):
    run = Run()
    first, _ = submit(client, run.context(try_number=1, max_tries=0), "true")
    gateway.over(first["id"])
    second, _ = submit(client, run.context(try_number=2, max_tries=1), "true")
    assert second["id"] != first["id"]


def test_a_submit_whose_reply_was_lost_is_the_same_job_when_repeated(gateway, client):
    context = Run().context()
    first, _ = submit(client, context)
    blind = Blind(client)
    second, _ = submit(blind, context)
    assert blind.hidden
    assert second["id"] == first["id"]


def test_a_submit_of_an_earlier_try_that_comes_through_late_is_found_and_attached_to(gateway, client):
    run = Run()
    first, _ = submit(client, run.context(try_number=1))
    # The list of the second try was read before the first try's submit came through.
    second, said = submit(Blind(client), run.context(try_number=2))
    assert second["id"] == first["id"]
    assert "has come through in between" in said[0]


def test_two_airflows_with_the_same_dags_do_not_share_jobs():
    context = Run().context()
    assert identify(context, "one").key != identify(context, "other").key


def test_mapped_tasks_and_names_that_run_together_have_keys_of_their_own():
    one, other = Run().context("ab"), Run().context("a")
    other["ti"].run_id = one["ti"].run_id
    other["ti"].map_index = 0
    assert identify(one, "tests").key != identify(other, "tests").key


class Blind:
    """A client whose first list shows nothing."""

    def __init__(self, client):
        self._client = client
        self.hidden = False

    def list(self, labels):
        jobs = self._client.list(labels)
        if self.hidden:
            return jobs
        self.hidden = True
        return []

    def send(self, call):
        return self._client.send(call)
