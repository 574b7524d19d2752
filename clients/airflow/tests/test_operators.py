from __future__ import annotations

import threading

import httpx
import pytest
from client_under_test import AIRFLOW_3, Run, find
from gateway import HOST, until
from health import Health

from agent_operators import (
    AgentAsyncOperator,
    AgentCancelOperator,
    AgentStatusSensor,
    AgentSyncOperator,
    AgentTmuxOperator,
    AgentTmuxUnifiedOperator,
)

AirflowException = find("AirflowException")
AirflowFailException = find("AirflowFailException")
AirflowSensorTimeout = find("AirflowSensorTimeout")
AirflowSkipException = find("AirflowSkipException")
TaskDeferred = find("TaskDeferred")


def sync(command, **more):
    return AgentSyncOperator(task_id="task", target_server=HOST, command=command, deferrable=False, **more)


def test_a_sync_task_returns_what_dags_compare_and_the_gateways_own_words(gateway):
    context = Run().context()
    result = sync("echo out; echo err >&2", timeout_seconds=600).execute(context)
    assert result["status"] == "finished"
    assert result["return_code"] == 0
    assert result["stdout"] == "out\n"
    assert result["stderr"] == "err\n"
    assert (result["state"], result["outcome"]["kind"]) == ("succeeded", "exit")
    job = gateway.over(result["job_id"])
    assert (job["mode"], job["timeout_seconds"], job["start_deadline_seconds"]) == ("sync", 600, 600)
    assert context["ti"].xcoms["agent_job_id"] == result["job_id"]
    assert result["job_id"] in context["ti"].xcoms["agent_job_url"]


def test_output_beyond_64_kib_is_cut_in_the_result_and_said_to_be(gateway):
    result = sync("head -c 70000 /dev/zero | tr '\\0' x").execute(Run().context())
    assert len(result["stdout"]) == 65_536
    assert (result["stdout_truncated"], result["stderr_truncated"]) == (True, False)


def test_a_return_code_fails_the_task_and_the_message_says_what_happened(gateway):
    with pytest.raises(AirflowException, match=r"failed with return code 3(.|\n)*/v1/jobs/job_(.|\n)*no such table"):
        sync("echo 'no such table' >&2; exit 3").execute(Run().context())


def test_a_signal_is_named(gateway):
    with pytest.raises(AirflowException, match="ended by signal KILL"):
        sync("kill -KILL $$").execute(Run().context())


def test_a_job_that_runs_too_long_fails_with_its_timeout(gateway):
    with pytest.raises(AirflowException, match="ran longer than its timeout of 1 s"):
        sync("sleep 60", timeout_seconds=1).execute(Run().context())


def test_an_exit_code_that_means_nothing_to_do_skips_the_task(gateway):
    with pytest.raises(AirflowSkipException):
        sync("exit 99", skip_on_exit_code=99).execute(Run().context())


def test_a_job_that_the_gateway_refuses_fails_without_another_try(gateway):
    operator = AgentSyncOperator(task_id="task", target_server="nowhere.example:1", command="true")
    with pytest.raises(AirflowFailException, match="target_unknown"):
        operator.execute(Run().context())


def test_a_job_that_the_agent_rejects_fails_without_another_try(gateway):
    with pytest.raises(AirflowFailException, match="rejected"):
        sync("true", job_user="nobody_of_that_name").execute(Run().context())


def test_fire_and_forget_returns_at_once_and_sends_no_timeout_that_nobody_asked_for(gateway):
    operator = AgentTmuxOperator(task_id="task", target_server=HOST, command="sleep 0.2")
    result = operator.execute(Run().context())
    assert result == {"job_id": result["job_id"], "status": "submitted"}
    job = gateway.over(result["job_id"])
    assert (job["mode"], job["timeout_seconds"], job["start_deadline_seconds"]) == ("tmux", None, 604_800)
    assert job["labels"]["airflow_awaited"] == "false"


def test_fire_and_forget_sends_a_timeout_that_was_asked_for(gateway):
    operator = AgentTmuxOperator(task_id="task", target_server=HOST, command="true", timeout_seconds=86_400)
    job = gateway.over(operator.execute(Run().context())["job_id"])
    assert job["timeout_seconds"] == 86_400


def test_a_tmux_task_that_waits_has_a_day_unless_it_says_otherwise():
    operator = AgentTmuxOperator(task_id="task", target_server=HOST, command="true", fire_and_forget=False)
    assert operator.timeout_seconds == 86_400


def test_the_unified_tmux_operator_passes_the_environment_and_waits(gateway):
    operator = AgentTmuxUnifiedOperator(
        task_id="task", target_server=HOST, command='echo "$GREETING"', env={"GREETING": "hello"}, deferrable=False
    )
    result = operator.execute(Run().context())
    assert result["stdout"] == "hello\n"
    assert gateway.over(result["job_id"])["timeout_seconds"] is None


def test_an_async_task_defers_and_concludes_with_the_triggers_event(gateway):
    operator = AgentAsyncOperator(task_id="task", target_server=HOST, command="sleep 1; echo done")
    context = Run().context()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    job_id = context["ti"].xcoms["agent_job_id"]
    assert deferred.value.trigger.job_id == job_id
    assert deferred.value.trigger.cancel_on_kill
    gateway.over(job_id)
    result = operator.execute_complete(context, {"status": "over", "job_id": job_id})
    assert (result["status"], result["stdout"]) == ("finished", "done\n")


@pytest.mark.parametrize("status", ["over", "timeout"])
def test_an_event_of_an_earlier_tries_job_neither_ends_nor_cancels_this_one(gateway, status):
    operator = AgentAsyncOperator(task_id="task", target_server=HOST, command="sleep 3; echo mine")
    context = Run().context()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    job_id = deferred.value.trigger.job_id
    with pytest.raises(TaskDeferred) as again:
        operator.execute_complete(context, {"status": status, "job_id": "job_00000000000000000000000000"})
    assert again.value.trigger.job_id == job_id
    assert gateway.over(job_id)["state"] == "succeeded"
    assert operator.execute_complete(context, {"status": "over", "job_id": job_id})["stdout"] == "mine\n"


def test_a_timeout_of_the_trigger_cancels_the_job_and_fails_the_task(gateway):
    operator = AgentAsyncOperator(task_id="task", target_server=HOST, command="sleep 60")
    context = Run().context()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    job_id = deferred.value.trigger.job_id
    with pytest.raises(AirflowException, match="canceled: its time was over"):
        operator.execute_complete(context, {"status": "timeout", "job_id": job_id, "reason": "its time was over"})
    assert gateway.over(job_id)["state"] == "canceled"


def test_a_deferral_that_airflow_ends_cancels_the_job(gateway):
    context = Run().context()
    with pytest.raises(TaskDeferred) as deferred:
        AgentAsyncOperator(task_id="task", target_server=HOST, command="sleep 60").execute(context)
    job_id = deferred.value.trigger.job_id
    # Airflow makes a new operator of the same task, which knows nothing.
    resumed = AgentAsyncOperator(task_id="task", target_server=HOST, command="sleep 60")
    with pytest.raises(Exception, match=r"(?i)timeout"):
        resumed.resume_execution("__fail__", {"error": "Trigger timeout"}, context)
    assert gateway.over(job_id)["state"] == "canceled"


def test_on_kill_cancels_the_job_and_the_task_does_not_end_well(gateway):
    operator = sync("sleep 60")
    context = Run().context()

    def kill():
        job_id = until(lambda: context["ti"].xcoms.get("agent_job_id"))
        until(lambda: gateway.over(job_id, 1)["state"] == "running")
        operator.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(AirflowException, match="was killed"):
        operator.execute(context)
    killer.join()
    assert gateway.over(context["ti"].xcoms["agent_job_id"])["state"] == "canceled"


def test_on_kill_of_an_operator_that_knows_nothing_finds_the_job(gateway):
    context = Run().context()
    with pytest.raises(TaskDeferred) as deferred:
        AgentAsyncOperator(task_id="task", target_server=HOST, command="sleep 60").execute(context)
    job_id = deferred.value.trigger.job_id
    context["ti"].xcoms.clear()
    other = AgentAsyncOperator(task_id="task", target_server=HOST, command="sleep 60")
    other.pre_execute(context)
    assert other._work_task.hook.address.url == gateway.url
    other.on_kill()
    assert gateway.over(job_id)["state"] == "canceled"


def test_on_kill_leaves_a_fire_and_forget_job_alone(gateway):
    operator = AgentTmuxOperator(task_id="task", target_server=HOST, command="sleep 2")
    job_id = operator.execute(Run().context())["job_id"]
    operator.on_kill()
    assert gateway.over(job_id)["state"] == "succeeded"


def test_the_sensor_waits_for_a_job_and_returns_its_result(gateway):
    job_id = AgentTmuxOperator(task_id="start", target_server=HOST, command="sleep 1; echo etl").execute(
        Run().context("start")
    )["job_id"]
    sensor = AgentStatusSensor(
        task_id="task", target_server=HOST, job_id=job_id, poke_interval=30, timeout=60, deferrable=False
    )
    assert sensor.execute(Run().context())["stdout"] == "etl\n"


def test_the_sensors_timeout_is_a_sensor_timeout_and_leaves_the_job(gateway):
    job_id = AgentTmuxOperator(task_id="start", target_server=HOST, command="sleep 4").execute(Run().context("start"))[
        "job_id"
    ]
    sensor = AgentStatusSensor(task_id="task", target_server=HOST, job_id=job_id, timeout=60, deferrable=True)
    context = Run().context()
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context)
    assert not deferred.value.trigger.cancel_on_kill
    with pytest.raises(AirflowSensorTimeout):
        sensor.execute_complete(context, {"status": "timeout", "job_id": job_id})
    with pytest.raises(AirflowSensorTimeout):
        sensor.resume_execution("__fail__", {"error": "Trigger/execution timeout"}, context)
    assert gateway.over(job_id)["state"] == "succeeded"


def test_the_sensor_fails_with_its_job_and_softly_if_it_should(gateway):
    job_id = AgentTmuxOperator(task_id="start", target_server=HOST, command="exit 5").execute(Run().context("start"))[
        "job_id"
    ]
    gateway.over(job_id)
    order = {"task_id": "task", "target_server": HOST, "job_id": job_id}
    with pytest.raises(AirflowException, match="return code 5"):
        AgentStatusSensor(**order).execute(Run().context())
    with pytest.raises(AirflowSkipException):
        AgentStatusSensor(**order, soft_fail=True).execute(Run().context())


def test_the_sensor_says_that_the_gateway_knows_no_such_job(gateway):
    sensor = AgentStatusSensor(task_id="task", target_server=HOST, job_id="job_00000000000000000000000000")
    with pytest.raises(AirflowException, match="knows no job"):
        sensor.execute(Run().context())


def test_the_sensor_adopts_a_job_that_was_submitted_to_the_agent_itself(gateway):
    reply = httpx.post(
        f"https://127.0.0.1:{gateway.agent_port}/run",
        json={"job_id": "before-the-migration", "job_type": "shell", "command": "sleep 2; echo old", "sync": False},
        headers={"X-Agent-Token": gateway.agent_token.read_text().strip()},
        verify=False,
    )
    assert reply.status_code == 200, reply.text
    order = {"task_id": "task", "target_server": HOST, "job_id": reply.json()["job_id"]}
    context = Run().context()
    with pytest.raises(TaskDeferred) as deferred:
        AgentStatusSensor(**order).execute(context)
    adopted = deferred.value.trigger.job_id
    assert gateway.over(adopted)["state"] == "succeeded"
    result = AgentStatusSensor(**order).execute_complete(context, {"status": "over", "job_id": adopted})
    assert (result["job_id"], result["stdout"]) == (adopted, "old\n")


def test_the_sensor_says_that_the_agent_knows_no_such_job(gateway):
    with pytest.raises(AirflowException, match="agent_job_unknown"):
        AgentStatusSensor(task_id="task", target_server=HOST, job_id="never-seen").execute(Run().context())


def test_the_cancel_operator_ends_a_job_and_leaves_one_that_is_over(gateway):
    job_id = AgentTmuxOperator(task_id="start", target_server=HOST, command="sleep 60").execute(Run().context("start"))[
        "job_id"
    ]
    until(lambda: gateway.over(job_id, 1)["state"] == "running")
    cancel = AgentCancelOperator(task_id="task", target_server=HOST, job_id=job_id)
    result = cancel.execute(Run().context())
    assert (result["job_id"], result["status"], result["state"]) == (job_id, "cancelled", "canceled")
    assert cancel.execute(Run().context())["state"] == "canceled"


@pytest.mark.parametrize(
    ("operator", "fields"),
    [
        (AgentSyncOperator, {"target_server", "command", "job_user"}),
        (AgentAsyncOperator, {"target_server", "command", "job_user"}),
        (AgentTmuxOperator, {"target_server", "command", "job_user"}),
        (AgentTmuxUnifiedOperator, {"target_server", "command", "job_user", "env"}),
        (AgentStatusSensor, {"target_server", "job_id"}),
        (AgentCancelOperator, {"target_server", "job_id"}),
    ],
)
def test_the_templated_fields_are_those_of_old(operator, fields):
    assert set(operator.template_fields) == fields


@pytest.mark.skipif(not AIRFLOW_3, reason="2.11 looks into its database, which there is none of here")
def test_a_task_that_finds_no_triggerer_waits_in_its_worker_until_there_is_one(gateway, monkeypatch, capsys):
    operator = AgentAsyncOperator(task_id="task", target_server=HOST, command="sleep 300")
    with Health() as health:
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{health.url}/execution/")
        with pytest.raises(TaskDeferred):
            operator.execute(Run().context())
    assert health.asked == ["unhealthy", "healthy"]
    assert capsys.readouterr().out.count("No triggerer is alive: this task waits in its worker until there is one") == 1
