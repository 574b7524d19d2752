"""
A real gateway with a Redis and an agent of its own, on free loopback ports and in a directory that is removed at the
end. The agent goes by the name that the example DAGs use, so that their files stay exactly as users have them.

``SLUICE`` names another command than this tree's ``bin/sluice``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx

HOST = "192.168.120.139:18443"
ACTIVE = ("queued", "dispatching", "running", "unreachable", "canceling")
SLUICE = os.environ.get("SLUICE") or str(Path(__file__).resolve().parents[3] / "bin" / "sluice")


class RunningGateway:
    """:param data: keeps the gateway's data; killed and started again on it, the gateway goes on"""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = free_port()
        self.agent_port = free_port()
        self.agent_token = data.parent / "agent-token"
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data.parent / "gateway.log"
        self.key = ""
        self.callback_secret = ""
        self._process: subprocess.Popen[str] | None = None
        self._agents: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        command = ["up", "--listen", f"127.0.0.1:{self.port}", "--data", str(self.data)]
        self._process, _ = launch(command, self.log, "is up at")
        written = dict(re.findall(r"^(\w+)=(.+)$", (self.data / "key.env").read_text(), re.MULTILINE))
        self.key = written["SLUICE_API_KEY"]
        self.callback_secret = written["SLUICE_WEBHOOK_SECRET"]

    def start_agent(self, name: str = HOST, **order: Any) -> None:
        """
        :param name: of its host; by default the one that the example DAGs use
        :param order: further fields of the host
        """
        own = name == HOST
        data = self.data.parent / ("agent" if own else f"agent-{name}")
        data.mkdir(mode=0o711)
        address = f"127.0.0.1:{self.agent_port if own else free_port()}"
        token_file = self.agent_token if own else Path(f"{data}-token")
        command = ["agent", "--listen", address, "--data", str(data), "--token-file", str(token_file)]
        process, line = launch(command, self.log, "fingerprint")
        self._agents.append(process)
        order |= {"address": address, "token": token_file.read_text().strip()}
        self.call("PUT", f"/v1/hosts/{name}", {**order, "tls": {"fingerprint": line.split()[3]}})

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(60)
        self._process = None

    def stop_agents(self) -> None:
        for agent in self._agents:
            agent.terminate()
        for agent in self._agents:
            agent.wait(60)
        self._agents.clear()

    def _is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        reply = httpx.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=90, **more)
        assert reply.status_code < 300, f"{method} {path} answered {reply.status_code}: {reply.text}"
        return reply.json() if reply.content else None

    def jobs(self, **labels: str) -> list[dict[str, Any]]:
        """Newest first."""
        query = [("label", f"{name}:{value}") for name, value in labels.items()]
        jobs: list[dict[str, Any]] = self.call("GET", "/v1/jobs", params=query)["items"]
        return jobs

    def over(self, job_id: str, seconds: int = 30) -> dict[str, Any]:
        job: dict[str, Any] = self.call("GET", f"/v1/jobs/{job_id}", params={"wait": seconds})
        return job

    def cancel_all(self) -> None:
        # A page at a time, as they come.
        for _ in range(10):
            active = self.call("GET", "/v1/jobs", params={"state": list(ACTIVE)})["items"]
            if not active:
                return
            self.call("POST", "/v1/jobs:cancel", {"state": list(ACTIVE), "grace_seconds": 0})
            for job in active:
                self.over(job["id"])

    def connection(self, **extra: Any) -> str:
        """As Airflow takes it from ``AIRFLOW_CONN_AGENT_DEFAULT``."""
        extra = {"gateway_url": self.url, "agent_token": self.key, "verify_ssl": False, **extra}
        return json.dumps({"conn_type": "http", "host": "ignored.example", "extra": extra})


class GatewayForTests(RunningGateway):
    """In a directory of its own. For ``with``."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="sluice-airflow-"))
        # Jobs of other users must be able to reach their files in there.
        self.directory.chmod(0o711)
        super().__init__(self.directory / "data")

    def __enter__(self) -> GatewayForTests:
        try:
            self.start()
            self.start_agent()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._is_up():
                self.cancel_all()
        finally:
            self.stop()
            self.stop_agents()
            shutil.rmtree(self.directory, ignore_errors=True)


def launch(arguments: list[str], log: Path, ready: str) -> tuple[subprocess.Popen[str], str]:
    """:returns: the process, and the line that says that it is ready"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "REDIS_URL"))}
    process = subprocess.Popen(
        [SLUICE, *arguments],
        # Receivers of webhooks are on loopback here, which a gateway calls only where it is told to.
        env={**kept, "SLUICE_LOG_LEVEL": "warn", "SLUICE_WEBHOOKS_ALLOW": "127.0.0.0/8"},
        stdout=subprocess.PIPE,
        stderr=log.open("a"),
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if ready in line:
            # Its pipe must not fill up.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return process, line
    raise AssertionError(f"sluice {arguments[0]} did not start: {log.read_text()[-4000:]}")


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def until(condition: Any, seconds: float = 30, what: str = "") -> Any:
    """The first value of ``condition()`` that is true."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what or condition}"
        time.sleep(0.1)
