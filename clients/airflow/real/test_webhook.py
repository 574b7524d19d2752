"""A job ends at the gateway, its webhook goes to the receiver, and that starts a run of a real Airflow's."""

from __future__ import annotations

import os
import subprocess
import sys

import httpx
import pytest
from conftest import CLIENT, MAJOR, PATIENCE
from gateway import HOST, free_port, until

DAG = "agent_webhook"
USER = {"AIRFLOW_USERNAME": "starter", "AIRFLOW_PASSWORD": "a password of the tests"}


@pytest.fixture(scope="module")
def api(airflow):
    """The address of Airflow's REST API, which on 2.11 is the web server's."""
    if MAJOR == 2:
        airflow.env["AIRFLOW__API__AUTH_BACKENDS"] = "airflow.api.auth.backend.basic_auth"
        airflow.env["AIRFLOW__WEBSERVER__WORKERS"] = "1"
        # It gives itself up where the machine is busy.
        airflow.env["AIRFLOW__WEBSERVER__WEB_SERVER_MASTER_TIMEOUT"] = str(PATIENCE)
        names = ["--username", USER["AIRFLOW_USERNAME"], "--password", USER["AIRFLOW_PASSWORD"], "--role", "User"]
        names += ["--firstname", "x", "--lastname", "x", "--email", "x@example.com"]
        airflow.start("webserver")
        until(lambda: answers(f"{airflow.url}/api/v1/health"), PATIENCE, "the web server")
        # Only now: it is the web server that makes the roles.
        airflow.run("airflow", "users", "create", *names)
    yield airflow.url
    if MAJOR == 2:
        airflow.stop("webserver")


@pytest.fixture(scope="module")
def endpoint(gateway):
    """An endpoint at the gateway with the secret that was shown once, and the port where it is to be received."""
    port = free_port()
    order = {"url": f"http://127.0.0.1:{port}/", "events": ["job.failed"], "labels": {"then": DAG}}
    made = gateway.call("POST", "/v1/webhooks", order)
    yield {**made, "port": port}
    gateway.call("DELETE", f"/v1/webhooks/{made['id']}")


@pytest.fixture(scope="module")
def receiver(api, endpoint, airflow):
    command = [sys.executable, str(CLIENT / "webhook_receiver.py"), "--dag-id", DAG, "--airflow-url", api]
    log = airflow.home / "receiver.log"
    process = subprocess.Popen(
        [*command, "--listen", f"127.0.0.1:{endpoint['port']}"],
        env={**os.environ, **USER, "SLUICE_WEBHOOK_SECRET": endpoint["secret"]},
        stderr=log.open("ab"),
    )
    until(lambda: answers(f"http://127.0.0.1:{endpoint['port']}/healthz"), 30, "the receiver up")
    yield log
    process.terminate()
    assert process.wait(30) == 0


def answers(url):
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_the_end_of_a_job_starts_a_run_that_reads_the_job(airflow, gateway, endpoint, receiver):
    until(lambda: airflow.rows("select 1 from dag where dag_id = ?", DAG), PATIENCE, f"{DAG} parsed")
    job = gateway.call("POST", "/v1/jobs", {"target_server": HOST, "command": "exit 7", "labels": {"then": DAG}})
    run_id = until(lambda: runs(airflow), PATIENCE, "a run")[0]
    assert airflow.finished(DAG, run_id, PATIENCE) == "success", airflow.states(DAG, run_id)
    assert airflow.states(DAG, run_id) == {"read_delivery": "success", "follow_up": "success"}
    read = airflow.xcom(DAG, run_id, "read_delivery")
    assert read == {"id": job["id"], "state": "failed", "return_code": 7, "labels": {"then": DAG}}
    assert f"job.failed: job {job['id']} on {HOST} is failed" in airflow.log(DAG, run_id, "read_delivery")
    said = f"after {job['id']}, which is failed\n"
    assert airflow.xcom(DAG, run_id, "follow_up")["stdout"] == said
    assert f"[stdout] {said.strip()}" in airflow.log(DAG, run_id, "follow_up")
    [delivery] = deliveries(gateway, endpoint)
    assert (delivery["state"], run_id) == ("delivered", f"sluice__{delivery['id']}")
    assert f"run {run_id} of DAG {DAG} started" in receiver.read_text()


def test_the_same_delivery_once_more_starts_nothing(airflow, gateway, endpoint, receiver):
    [delivery] = deliveries(gateway, endpoint)
    before = runs(airflow)
    assert len(before) == 1
    gateway.call("POST", f"/v1/webhooks/{endpoint['id']}/deliveries/{delivery['id']}:redeliver")
    until(lambda: f"{before[0]} of DAG {DAG} was there already" in receiver.read_text(), PATIENCE, "it came again")
    assert runs(airflow) == before


def runs(airflow):
    return [row[0] for row in airflow.rows("select run_id from dag_run where dag_id = ?", DAG)]


def deliveries(gateway, endpoint):
    return gateway.call("GET", f"/v1/webhooks/{endpoint['id']}/deliveries")["items"]
