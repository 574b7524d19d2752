#!/usr/bin/env python3
"""
Starts a DAG run for each delivery of a Sluice gateway's webhook: a program of one file, for Airflow 2.11 and 3, that
needs nothing but Python.

Airflow wants a body and a token of its own, so no webhook can call it directly. This verifies a delivery's signature
(Standard Webhooks 1.0) and asks Airflow's REST API for a run whose id is made from the delivery's: a delivery that
comes again finds its run and starts nothing. It keeps nothing, and answers 200 only once Airflow has the run, so
whatever dies before that, the gateway delivers again; and several receivers may run side by side.

What is secret is read from the environment:

  SLUICE_WEBHOOK_SECRET           whsec_..., as the gateway showed it; during a rotation both, with a space between
  AIRFLOW_USERNAME, _PASSWORD     of an Airflow user who may trigger the DAG; on 3 they are exchanged for a token
  AIRFLOW_TOKEN                   a token instead; with neither, Airflow 3 is asked for one that needs no login
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import http.client
import json
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, urlsplit

log = logging.getLogger("webhook_receiver")

#: What Airflow takes as a run's id unless it is configured otherwise; its column holds 250 characters.
RUN_ID = re.compile(r"[A-Za-z0-9_.~:+-]{1,240}")
#: Seconds for one answer of Airflow's, and for a sender to go on sending. The gateway itself gives up after 15.
PATIENCE_SECONDS = 10.0
#: How far the sender's clock may be from this one's: so long can a delivery be replayed, which starts nothing twice.
TOLERANCE_SECONDS = 300
#: A job's command has up to 64 KiB.
MAX_BODY_BYTES = 1_048_576
NO_HEADERS: Mapping[str, str] = {}


class Refused(Exception):
    """A delivery starts nothing; ``status`` and the message are the answer. Never 410, which ends all deliveries."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes]) -> str:
    """
    :param secrets: any one of them will do
    :returns: the delivery's id
    :raises Refused: if this is no delivery, or nobody with a secret has signed it, or not now
    """
    delivery_id, sent_at, signatures = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not (delivery_id and signatures and re.fullmatch(r"[0-9]{1,12}", sent_at)):
        raise Refused(400, "this is no webhook: webhook-id, webhook-timestamp or webhook-signature is not there")
    signed = f"{delivery_id}.{sent_at}.".encode("utf-8", "surrogateescape") + body
    given = [signature.encode("utf-8", "surrogateescape") for signature in signatures.split()]
    expected = [b"v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")) for secret in secrets]
    # All are compared, each in constant time.
    if not any([hmac.compare_digest(one, other) for one in given for other in expected]):
        raise Refused(401, "the signature is not by any of the secrets that are known here")
    distance = time.time() - int(sent_at)
    if abs(distance) > TOLERANCE_SECONDS:
        raise Refused(401, f"it was signed {distance:.0f} s ago by this clock: one of the two clocks is wrong")
    return delivery_id


def run_id_of(delivery_id: str) -> str:
    """The same for the same delivery, and something that Airflow takes."""
    plain = RUN_ID.fullmatch(delivery_id) is not None
    return "sluice__" + (delivery_id if plain else hashlib.sha256(delivery_id.encode("utf-8", "replace")).hexdigest())


class Airflow:
    """Airflow's REST API. For many threads: what it remembers is only ever replaced."""

    def __init__(self, url: str, *, username: str = "", password: str = "", token: str = "") -> None:
        """:raises ValueError: if the URL is none"""
        self.url = url.rstrip("/")
        self._at = urlsplit(self.url)
        if self._at.scheme not in ("http", "https") or not self._at.hostname:
            raise ValueError(f"{url} is no http or https URL")
        self._login = {"username": username, "password": password} if username else None
        self._given_token = token
        self._token = token
        self._major: int | None = None

    def start_run(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> bool:
        """
        :returns: whether the run is new; else it was there before
        :raises Refused: if Airflow does not have it now
        """
        body: dict[str, Any] = {"dag_run_id": run_id, "conf": conf}
        if self.major() >= 3:
            body["logical_date"] = None
        path = f"/dags/{quote(dag_id, safe='')}/dagRuns"
        status, answer = self._as_user("POST", path, body)
        if status in (200, 201):
            return True
        if status == 409:
            # Airflow 2 also answers so if another run began in the same microsecond: then this one is not there.
            found, _ = self._as_user("GET", f"{path}/{quote(run_id, safe='')}")
            if found == 200:
                return False
        # Perhaps it was another version when it was asked.
        self._major = None
        raise Refused(502, f"Airflow does not start DAG {dag_id}: it answers {status}: {answer[:500]!r}")

    def major(self) -> int:
        """2 or 3, as Airflow says itself."""
        if self._major is not None:
            return self._major
        for api in ("v2", "v1"):
            status, answer = self._ask("GET", f"/api/{api}/version")
            version = read_field("version", answer) if status == 200 else ""
            if version[:2] in ("2.", "3."):
                self._major = int(version[0])
                return self._major
        raise Refused(502, f"{self.url} answers, but is no Airflow 2 or 3")

    def _as_user(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
        path = f"/api/{'v2' if self.major() >= 3 else 'v1'}{path}"
        status, answer = self._ask(method, path, body, self._authorization())
        if status == 401 and self.major() >= 3 and not self._given_token:
            # Tokens expire.
            self._token = ""
            status, answer = self._ask(method, path, body, self._authorization())
        return status, answer

    def _authorization(self) -> dict[str, str]:
        if self._login and not self._given_token and self.major() == 2:
            pair = f"{self._login['username']}:{self._login['password']}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        if not self._token and self.major() >= 3:
            status, answer = self._ask("POST" if self._login else "GET", "/auth/token", self._login)
            self._token = read_field("access_token", answer)
            if not self._token:
                raise Refused(502, f"Airflow gives no token for its user: it answers {status} at /auth/token")
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> tuple[int, str]:
        """Follows no redirect: it would carry the password to another place."""
        secure = self._at.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        # Which authorities are trusted, SSL_CERT_FILE in the environment can say.
        connection = connect(self._at.hostname or "", self._at.port, timeout=PATIENCE_SECONDS)
        sent = None if body is None else json.dumps(body)
        try:
            connection.request(method, self._at.path + path, sent, {"Content-Type": "application/json", **headers})
            response = connection.getresponse()
            return response.status, response.read(1_000_000).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise Refused(503, f"Airflow at {self.url} does not answer: {error or type(error).__name__}") from error
        finally:
            connection.close()


def read_field(name: str, answer: str) -> str:
    """Empty if it is not there."""
    try:
        return str(json.loads(answer)[name])
    except (ValueError, TypeError, KeyError):
        return ""


class Receiver(ThreadingHTTPServer):
    """Takes what ``Request`` reads."""

    request_queue_size = 64

    def __init__(self, options: argparse.Namespace, secrets: Sequence[bytes], airflow: Airflow) -> None:
        self.options = options
        self.secrets = secrets
        self.airflow = airflow
        super().__init__(options.listen, Request)

    def receive(self, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """
        :returns: the answer
        :raises Refused: if the delivery is not taken
        """
        delivery_id = verify(headers, body, self.secrets)
        try:
            event = json.loads(body)
            kind, data = event["type"], event["data"]
        except (ValueError, TypeError, KeyError) as error:
            raise Refused(400, "the body is no webhook's: it wants type and data") from error
        run_id = run_id_of(delivery_id)
        started = self.airflow.start_run(self.options.dag_id, run_id, {**event, "webhook_id": delivery_id})
        subject = data.get("id") if isinstance(data, dict) else None
        what = "started" if started else "was there already"
        log.info("%s: %s of %s: run %s of DAG %s %s", delivery_id, kind, subject, run_id, self.options.dag_id, what)
        return {"dag_run_id": run_id, "started": started}


class Request(BaseHTTPRequestHandler):
    server: Receiver
    server_version = "sluice-webhook-receiver"
    sys_version = ""
    timeout = PATIENCE_SECONDS

    def do_POST(self) -> None:
        try:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._answer(200, self.server.receive(headers, self._body()))
        except Refused as error:
            log.warning("%r from %s: %s", self.headers.get("webhook-id"), self.client_address[0], error)
            self._answer(error.status, {"error": str(error)})

    def do_GET(self) -> None:
        """For whoever watches over this process; Airflow is not asked."""
        self._answer(200 if self.path == "/healthz" else 404, {})

    def _body(self) -> bytes:
        length = self.headers.get("content-length", "")
        if not re.fullmatch(r"[0-9]{1,12}", length):
            raise Refused(411, "the body's length is not given")
        if int(length) > MAX_BODY_BYTES:
            raise Refused(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        return self.rfile.read(int(length))

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        sent = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Each delivery has its line already."""

    def log_message(self, format: str, *args: Any) -> None:
        log.info("%s: %s", self.client_address[0], format % args)


def read_secrets(text: str) -> list[bytes]:
    """:raises ValueError: if there is none, or one that is none; without its value"""
    try:
        secrets = [base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in text.split()]
    except binascii.Error:
        secrets = []
    # With an empty secret everybody could sign.
    if not secrets or min(map(len, secrets)) < 24:
        raise ValueError(
            "SLUICE_WEBHOOK_SECRET must be whsec_ and at least 24 bytes in base64, as the gateway shows it"
        )
    return secrets


def host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--dag-id", required=True, help="the DAG to start; the delivery is in the run's conf")
    made.add_argument("--airflow-url", default="http://127.0.0.1:8080", help="default: %(default)s")
    made.add_argument("--listen", default="127.0.0.1:8095", type=host_and_port, help="HOST:PORT, default: %(default)s")
    options = made.parse_args()
    names = ("username", "password", "token")
    try:
        secrets = read_secrets(os.environ.get("SLUICE_WEBHOOK_SECRET", ""))
        airflow = Airflow(
            options.airflow_url, **{name: os.environ.get(f"AIRFLOW_{name.upper()}", "") for name in names}
        )
    except ValueError as error:
        made.error(str(error))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with Receiver(options, secrets, airflow) as server:
        # From another thread: this one is the one that it waits for.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        host, port = server.server_address[:2]
        log.info("Listening on %s port %d, starts DAG %s at %s", host, port, options.dag_id, airflow.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            log.info("Stopped")


if __name__ == "__main__":
    main()
