"""One task for many hosts, against a real gateway with three agents."""

from __future__ import annotations

import threading

import pytest
from client_under_test import Run, find
from gateway import free_port, until

from agent_operators import AgentFanoutOperator

AirflowException = find("AirflowException")
AirflowFailException = find("AirflowFailException")
TaskDeferred = find("TaskDeferred")
WEB = "web[1-3]"


@pytest.fixture(scope="module")
def web(gateway):
    """Three hosts, which the other tests know nothing of."""
    for number in (1, 2, 3):
        gateway.start_agent(f"web{number}", labels={"tier": "web"})
    return gateway


@pytest.fixture(autouse=True)
def tidy(web):
    yield
    for batch in batches(web, state="running,paused,stopping"):
        web.call("POST", f"/v1/batches/{batch['id']}:cancel")
        over(web, batch["id"])


def batches(gateway, **filters):
    """Newest first."""
    return gateway.call("GET", "/v1/batches", params=filters)["items"]


def over(gateway, batch_id, seconds=60):
    return gateway.call("GET", f"/v1/batches/{batch_id}", params={"wait": seconds})


def hosts_of(gateway, batch_id):
    return [job["host"] for job in gateway.call("GET", f"/v1/batches/{batch_id}/jobs")["items"]]


def fan_out(command="true", **more):
    order = {"task_id": "task", "targets": WEB, "deferrable": False, **more}
    return AgentFanoutOperator(command=command, **order)


def once(path):
    """Fails on the first host that it runs on, and on no other."""
    return f"mkdir {path} || exit 0; echo no such table >&2; exit 3"


def test_a_batch_that_succeeded_is_the_tasks_result(web):
    context = Run().context()
    operator = fan_out('[ "$GREETING" = hello ]', env={"GREETING": "hello"}, max_parallel="50%")
    result = operator.execute(context)
    batch = over(web, result["batch_id"])
    assert result == {
        "batch_id": batch["id"],
        "status": "finished",
        "state": "succeeded",
        "counts": {**dict.fromkeys(batch["counts"], 0), "succeeded": 3},
        "total": 3,
        "stopped_because": None,
        "retry_of": None,
        "failed_hosts": "",
    }
    assert (batch["max_parallel"], batch["labels"]["airflow_task"]) == (2, "task")
    xcoms = context["ti"].xcoms
    assert xcoms["agent_batch_id"] == batch["id"]
    assert xcoms["agent_job_url"] == f"{web.url}/v1/batches/{batch['id']}"
    assert xcoms["agent_batch_result"] == result


def test_hosts_may_be_selected_and_excluded_and_numbers_may_come_from_templates(web):
    operator = AgentFanoutOperator(
        task_id="task", selector={"tier": "web"}, exclude=["web2"], command="true", max_parallel="1", deferrable=False
    )
    result = operator.execute(Run().context())
    assert hosts_of(web, result["batch_id"]) == ["web1", "web3"]
    assert over(web, result["batch_id"])["max_parallel"] == 1


def test_what_fails_is_told_with_counts_the_limit_the_hosts_and_what_they_wrote(web):
    context = Run().context()
    operator = fan_out("echo no such table >&2; exit 3", max_parallel=1, max_failures=1)
    with pytest.raises(AirflowException) as failed:
        operator.execute(context)
    message = str(failed.value)
    assert "stopped, as more than max_failures (1) ended wrong: 2 failed, 1 unstarted of 3 hosts" in message
    assert f"{web.url}/v1/batches/batch_" in message
    assert "Ended wrong: web[1-2]" in message
    assert "== web[1-2] (2): failed (3)\n[stderr] no such table" in message
    # A task that fails returns nothing: what comes after it finds this.
    result = context["ti"].xcoms["agent_batch_result"]
    assert (result["state"], result["failed_hosts"], result["counts"]["unstarted"]) == ("stopped", "web[1-2]", 1)


def test_a_retry_runs_only_what_failed_and_what_was_never_started(web, tmp_path):
    run = Run()
    operator = fan_out(once(tmp_path / "failed"), max_parallel=1, max_failures=0)
    with pytest.raises(AirflowException, match="1 failed, 2 unstarted"):
        operator.execute(run.context(try_number=1))
    first = batches(web)[0]
    result = operator.execute(run.context(try_number=2))
    assert (result["state"], result["total"], result["retry_of"]) == ("succeeded", 3, first["id"])
    labels = over(web, result["batch_id"])["labels"]
    assert labels == {**first["labels"], "airflow_try": "2"}


def test_a_retry_leaves_out_what_succeeded_and_may_be_for_all_hosts(web, tmp_path):
    run, other = Run(), Run()
    part, whole = fan_out(once(tmp_path / "part")), fan_out(once(tmp_path / "whole"), retry_only_failed=False)
    for operator, tries in ((part, run), (whole, other)):
        with pytest.raises(AirflowException, match="2 succeeded, 1 failed"):
            operator.execute(tries.context(try_number=1))
    assert part.execute(run.context(try_number=2))["total"] == 1
    assert whole.execute(other.context(try_number=2))["total"] == 3


def test_hosts_that_no_retry_is_for_fail_the_task_though_the_rest_succeeds(web, tmp_path):
    run = Run()
    command = f"mkdir {tmp_path / 'timed_out'} && sleep 60; mkdir {tmp_path / 'failed'} && exit 3; exit 0"
    operator = fan_out(command, timeout_seconds=2, max_parallel=1, retry_only_failed=["failed"])
    with pytest.raises(AirflowException, match="1 succeeded, 1 failed, 1 timed out"):
        operator.execute(run.context(try_number=1))
    with pytest.raises(AirflowFailException, match=r"succeeded, but web\d, timed_out in batch_\w+, was not run again"):
        operator.execute(run.context(try_number=2))
    assert batches(web)[0]["total"] == 1


def test_where_nothing_may_be_run_again_a_retry_fails_for_good(web):
    run = Run()
    operator = fan_out("exit 3", retry_only_failed=["unstarted"])
    with pytest.raises(AirflowException):
        operator.execute(run.context(try_number=1))
    with pytest.raises(AirflowFailException, match="nothing is left that may be run again"):
        operator.execute(run.context(try_number=2))


def test_the_same_try_reports_its_batch_and_a_success_that_nobody_saw_is_taken(web):
    run = Run()
    operator = fan_out("exit 3")
    for _ in range(2):
        with pytest.raises(AirflowException, match="3 failed"):
            operator.execute(run.context(try_number=1))
    first = fan_out().execute(run.context("other", try_number=1))
    again = fan_out().execute(run.context("other", try_number=2))
    assert again == first
    assert len(batches(web, label=f"airflow_run:{run.run_id}")) == 2


def deferred_batch(context, command="sleep 60", **more):
    """:returns: the trigger that the task waits with"""
    with pytest.raises(TaskDeferred) as deferred:
        fan_out(command, deferrable=True, **more).execute(context)
    return deferred.value.trigger


def test_a_retry_attaches_to_the_batch_that_is_at_work(web):
    run = Run()
    first = deferred_batch(run.context(try_number=1))
    second = deferred_batch(run.context(try_number=2))
    assert second.batch_id == first.batch_id
    assert second.cancel_on_kill


def test_a_clear_replaces_the_batch_also_a_retry_of_one_once_its_end_is_proven(web, tmp_path):
    run = Run()
    operator = fan_out(f"mkdir {tmp_path / 'first'} && exit 3; sleep 60", targets="web1")
    with pytest.raises(AirflowException):
        operator.execute(run.context(try_number=1, max_tries=1))
    retry = deferred_batch(run.context(try_number=2, max_tries=1), targets="web1")
    cleared = fan_out().execute(run.context(try_number=3, max_tries=2))
    assert over(web, retry.batch_id)["retry_of"] is not None
    assert over(web, retry.batch_id)["state"] == "canceled"
    batch = over(web, cleared["batch_id"])
    assert (batch["replaces"], batch["total"], batch["state"]) == (retry.batch_id, 3, "succeeded")
    started = [job["started_at"] for job in web.call("GET", f"/v1/batches/{batch['id']}/jobs")["items"]]
    assert min(started) >= over(web, retry.batch_id)["ended_at"]


def test_a_retry_after_a_cancel_waits_for_its_proof_and_runs_what_was_canceled(web):
    run = Run()
    first = deferred_batch(run.context(try_number=1), "trap '' TERM; sleep 3; exit 1", max_parallel=2)
    until(lambda: over(web, first.batch_id, 0)["counts"]["running"] == 2)
    web.call("POST", f"/v1/batches/{first.batch_id}:cancel")
    second = deferred_batch(run.context(try_number=2))
    before, batch = over(web, first.batch_id, 0), over(web, second.batch_id, 0)
    assert before["state"] == "canceled"
    assert (batch["retry_of"], batch["total"]) == (first.batch_id, 3 - before["counts"]["succeeded"])


def test_an_event_concludes_and_one_of_an_earlier_batch_does_not(web):
    context = Run().context()
    batch_id = deferred_batch(context, "sleep 1; echo done").batch_id
    over(web, batch_id)
    operator = fan_out("sleep 1; echo done", deferrable=True)
    result = operator.execute_complete(context, {"status": "timeout", "batch_id": "batch_00000000000000000000000000"})
    assert (result["batch_id"], result["state"]) == (batch_id, "succeeded")


def test_a_timeout_of_the_trigger_and_one_of_airflow_cancel_the_batch(web):
    own, airflows = Run().context(), Run().context()
    first, second = deferred_batch(own).batch_id, deferred_batch(airflows).batch_id
    with pytest.raises(AirflowException, match=f"Batch {first} was canceled: enough"):
        fan_out().execute_complete(own, {"status": "timeout", "batch_id": first, "reason": "enough"})
    with pytest.raises(Exception, match=r"(?i)timeout"):
        fan_out().resume_execution("__fail__", {"error": "Trigger timeout"}, airflows)
    assert [over(web, batch_id)["state"] for batch_id in (first, second)] == ["canceled", "canceled"]


def test_on_kill_cancels_the_batch_and_the_task_does_not_end_well(web):
    operator, context = fan_out("sleep 60"), Run().context()

    def kill():
        batch_id = until(lambda: context["ti"].xcoms.get("agent_batch_id"))
        until(lambda: over(web, batch_id, 0)["counts"]["running"])
        operator.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(AirflowException, match="was killed"):
        operator.execute(context)
    killer.join()
    assert over(web, context["ti"].xcoms["agent_batch_id"])["state"] == "canceled"


def test_on_kill_of_an_operator_that_knows_nothing_finds_the_batch(web):
    context = Run().context()
    batch_id = deferred_batch(context).batch_id
    context["ti"].xcoms.clear()
    other = fan_out("sleep 60")
    other.pre_execute(context)
    assert other._work_task.hook.address.url == web.url
    other.on_kill()
    assert over(web, batch_id)["state"] == "canceled"


def test_a_batch_that_the_gateway_refuses_fails_without_another_try_and_names_every_host(web):
    with pytest.raises(AirflowFailException, match=r"target_unknown: nowhere\[1-2\]"):
        fan_out(targets=["web1", "nowhere[1-2]"]).execute(Run().context())
    with pytest.raises(AirflowFailException, match="say which hosts"):
        AgentFanoutOperator(task_id="task", command="true").execute(Run().context())


def test_hosts_that_do_not_answer_stop_it_at_its_limit(web):
    for number in (1, 2):
        order = {"address": f"127.0.0.1:{free_port()}", "token": "t"}
        web.call("PUT", f"/v1/hosts/gone{number}", order)
    operator = fan_out(targets="gone[1-2]", max_unreachable=0, max_parallel=1, start_deadline_seconds=3)
    with pytest.raises(AirflowException, match=r"more than max_unreachable \(0\) did not answer"):
        operator.execute(Run().context())
    for number in (1, 2):
        web.call("DELETE", f"/v1/hosts/gone{number}")


def test_the_templated_fields():
    assert set(AgentFanoutOperator.template_fields) == {
        *("targets", "selector", "command", "job_user", "exclude", "env"),
        *("max_parallel", "waves", "max_failures", "max_unreachable"),
    }
