"""The receiver against a stand-in that answers as Airflow does; in real/ a real delivery starts a run of a real one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import httpx
import pytest
from conftest import CLIENT
from gateway import HOST, free_port, until

RECEIVER = CLIENT / "webhook_receiver.py"
spec = importlib.util.spec_from_file_location("webhook_receiver", RECEIVER)
webhook_receiver = importlib.util.module_from_spec(spec)
spec.loader.exec_module(webhook_receiver)

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ...").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another one of thirty-two bytes ").decode()
EVENT = {"type": "job.succeeded", "timestamp": "2026-01-01T00:00:00Z", "data": {"id": "job_1", "version": 4}}


class Airflow(ThreadingHTTPServer):
    """Answers as Airflow does, of one major version, with one DAG; keeps what it was asked."""

    def __init__(self, major):
        super().__init__(("127.0.0.1", 0), AirflowRequest)
        self.major = major
        self.runs = {}
        self.requests = []
        self.token = "first"
        self.answer = None
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def reply(self, method, path, headers, body):
        if path == f"/api/v{self.major - 1}/version":
            return 200, {"version": {2: "2.11.2", 3: "3.3.2"}[self.major], "git_version": None}
        if path == "/auth/token" and self.major == 3:
            known = method == "GET" or body == {"username": "etl", "password": "secret"}
            return (201, {"access_token": self.token}) if known else (401, {})
        prefix = f"/api/v{self.major - 1}/dags/a_dag/dagRuns"
        if not path.startswith(prefix):
            return 404, {"detail": "not found"}
        login = f"Basic {base64.b64encode(b'etl:secret').decode()}" if self.major == 2 else f"Bearer {self.token}"
        if headers["authorization"] != login:
            return 401, {}
        if self.answer is not None:
            return self.answer
        if method == "GET":
            return (200 if path.removeprefix(f"{prefix}/") in self.runs else 404), {}
        if body["dag_run_id"] in self.runs:
            return 409, {"detail": "exists"}
        self.runs[body["dag_run_id"]] = body
        return 200, body


class AirflowRequest(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.requests.append(f"{self.command} {self.path}")
        status, answer = self.server.reply(self.command, self.path, self.headers, json.loads(body or "null"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    do_GET = do_POST

    def log_message(self, *_):
        pass


@pytest.fixture(params=[2, 3])
def airflow(request):
    with Airflow(request.param) as server:
        yield server


@pytest.fixture
def start():
    """Starts receivers; each call returns the URL of one."""
    servers = []

    def start_one(airflow_url, *, secret=SECRET, password="secret"):
        login = {"username": "etl", "password": password} if password else {}
        servers.append(
            webhook_receiver.Receiver(
                SimpleNamespace(listen=("127.0.0.1", 0), dag_id="a_dag"),
                webhook_receiver.read_secrets(secret),
                webhook_receiver.Airflow(airflow_url, **login),
            )
        )
        threading.Thread(target=servers[-1].serve_forever, args=[0.05], daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}"

    yield start_one
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def command(airflow, gateway):
    """The URL of a receiver that was started as people start it."""
    port = free_port()
    arguments = ["--dag-id", "a_dag", "--airflow-url", airflow.url, "--listen", f"127.0.0.1:{port}"]
    environment = {"AIRFLOW_USERNAME": "etl", "AIRFLOW_PASSWORD": "secret"}
    process = subprocess.Popen(
        [sys.executable, str(RECEIVER), *arguments],
        env={**environment, "SLUICE_WEBHOOK_SECRET": gateway.callback_secret},
    )
    until(lambda: answers(port), what="the receiver up")
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    assert process.wait(10) == 0


def answers(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def sign(body, *, secret=SECRET, delivery_id="msg_1", at=None):
    sent_at = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{delivery_id}.{sent_at}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(mac).decode()}"
    return {"Webhook-Id": delivery_id, "webhook-timestamp": sent_at, "webhook-signature": signature}


def deliver(url, event=EVENT, **signed):
    body = json.dumps(event).encode()
    return httpx.post(url, content=body, headers=sign(body, **signed))


def test_a_gateways_delivery_starts_a_run_that_has_the_job(airflow, command, gateway):
    order = {"target_server": HOST, "command": "exit 3", "callback_url": command}
    job = gateway.call("POST", "/v1/jobs", order)
    until(lambda: airflow.runs, what="a run")
    [(run_id, run)] = airflow.runs.items()
    assert run_id.startswith(f"sluice__msg_{job['id']}_")
    assert run_id == f"sluice__{run['conf']['webhook_id']}"
    assert run["conf"]["type"] == "job.failed"
    assert (run["conf"]["data"]["id"], run["conf"]["data"]["return_code"]) == (job["id"], 3)
    # Airflow 3 wants it named; 2 would take null for a date.
    assert ("logical_date" in run) == (airflow.major == 3)
    assert run.get("logical_date") is None


def test_a_delivery_that_comes_again_starts_nothing(airflow, start):
    url = start(airflow.url)
    first, again = deliver(url), deliver(url)
    assert (first.status_code, first.json()) == (200, {"dag_run_id": "sluice__msg_1", "started": True})
    assert (again.status_code, again.json()) == (200, {"dag_run_id": "sluice__msg_1", "started": False})
    assert list(airflow.runs) == ["sluice__msg_1"]


def test_another_run_in_the_same_microsecond_is_not_taken_for_this_one(airflow, start):
    url = start(airflow.url)
    # Airflow 2 answers so for its logical date as well, and has no run of this id.
    reply = airflow.reply
    airflow.reply = lambda method, path, *rest: (409, {}) if path.endswith("dagRuns") else reply(method, path, *rest)
    assert deliver(url).status_code == 502


def test_a_token_that_has_expired_is_renewed(start):
    with Airflow(3) as airflow:
        url = start(airflow.url)
        assert deliver(url).status_code == 200
        airflow.token = "second"
        assert deliver(url, delivery_id="msg_2").status_code == 200
        assert airflow.requests.count("POST /auth/token") == 2


def test_without_a_user_airflow_3_is_asked_for_a_token_that_needs_none(start):
    with Airflow(3) as airflow:
        assert deliver(start(airflow.url, password="")).status_code == 200
        assert "GET /auth/token" in airflow.requests


def test_a_wrong_password_is_said_to_be_one_and_the_delivery_is_not_taken(airflow, start):
    answer = deliver(start(airflow.url, password="wrong"))
    assert answer.status_code == 502
    assert "401" in answer.json()["error"]


@pytest.mark.parametrize("answer", [(404, {"detail": "no DAG a_dag"}), (400, {"detail": "has import errors"})])
def test_what_airflow_has_against_it_is_in_the_answer(airflow, start, answer):
    url = start(airflow.url)
    airflow.answer = answer
    refused = deliver(url)
    assert refused.status_code == 502
    assert answer[1]["detail"] in refused.json()["error"]
    airflow.answer = None
    assert deliver(url).status_code == 200


def test_an_airflow_that_is_away_is_503_so_that_the_delivery_comes_again(start):
    answer = deliver(start(f"http://127.0.0.1:{free_port()}"))
    assert answer.status_code == 503
    assert "does not answer" in answer.json()["error"]


def test_a_peer_that_is_no_airflow_is_named_as_that(start, gateway):
    answer = deliver(start(gateway.url))
    assert answer.status_code == 502
    assert "is no Airflow" in answer.json()["error"]


@pytest.mark.parametrize(
    ("signed", "status"),
    [({}, 200), ({"secret": OTHER_SECRET}, 401), ({"at": time.time() - 3600}, 401), ({"at": time.time() + 3600}, 401)],
)
def test_only_what_was_signed_with_the_secret_and_lately_is_taken(airflow, start, signed, status):
    assert deliver(start(airflow.url), **signed).status_code == status
    assert len(airflow.runs) == (status == 200)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1, caf\u00e9 v2,x"},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": ""},
        {"webhook-signature": ""},
    ],
)
def test_a_header_that_was_changed_is_refused(airflow, start, change):
    body = json.dumps(EVENT).encode()
    headers = {name.lower(): value for name, value in sign(body).items()} | change
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    assert httpx.post(start(airflow.url), content=body, headers=encoded).status_code in (400, 401)
    assert httpx.post(start(airflow.url), content=body + b" ", headers=sign(body)).status_code == 401
    assert airflow.requests == []


def test_both_secrets_of_a_rotation_are_taken(airflow, start):
    url = start(airflow.url, secret=f"{SECRET} {OTHER_SECRET}")
    assert deliver(url).status_code == 200
    assert deliver(url, secret=OTHER_SECRET, delivery_id="msg_2").status_code == 200
    body = json.dumps(EVENT).encode()
    both = sign(body, delivery_id="msg_3")
    both["webhook-signature"] = f"v1,AAAA {both['webhook-signature']}"
    assert httpx.post(url, content=body, headers=both).status_code == 200


def test_an_id_that_airflow_would_refuse_makes_a_run_id_that_it_takes(airflow, start):
    url = start(airflow.url)
    run_ids = [deliver(url, delivery_id=name).json()["dag_run_id"] for name in ("a/b c", "a/b c", "x" * 300)]
    assert run_ids[0] == run_ids[1]
    assert all(len(name) < 250 and name.replace("sluice__", "").isalnum() for name in run_ids)
    assert len(airflow.runs) == 2


def test_a_body_that_is_too_long_or_of_no_length_is_not_read(airflow, start):
    url = start(airflow.url)
    assert httpx.post(url, content=b"x" * 1_048_577).status_code == 413
    assert httpx.post(url, content=iter([b"x"])).status_code == 411


@pytest.mark.parametrize("body", [b"no json", b"[]", b'{"type": "job.succeeded"}'])
def test_a_signed_body_that_is_no_event_is_refused(airflow, start, body):
    assert httpx.post(start(airflow.url), content=body, headers=sign(body)).status_code == 400


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!", "whsec_c2hvcnQ="])
def test_it_does_not_start_without_a_secret_that_is_one(secret):
    done = subprocess.run(
        [sys.executable, str(RECEIVER), "--dag-id", "a_dag"],
        env={"SLUICE_WEBHOOK_SECRET": secret},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert "SLUICE_WEBHOOK_SECRET must be" in done.stderr
