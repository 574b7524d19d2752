"""
A door between a client and the gateway, which a submit can be stopped at: before it reaches the gateway, or on the way
back, when the gateway has accepted the job and the client does not know it yet. Everything else goes through.
"""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

import httpx
import psutil

#: Headers that are about one connection only, or that are made anew.
OWN_HEADERS = ("connection", "content-length", "content-encoding", "transfer-encoding", "host", "date", "server")


class Door:
    """For ``with``. :param gateway_url: where it leads"""

    def __init__(self, gateway_url: str) -> None:
        self.gateway_url = gateway_url
        #: The processes whose submits stand here.
        self.stopped: list[int] = []
        self._stop_next = ""
        self._open = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Door:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.set()
        self._server.shutdown()
        self._server.server_close()

    def stop_next_submit(self, where: str) -> None:
        """:param where: ``before`` or ``after`` the gateway"""
        self.stopped.clear()
        self._open.clear()
        self._stop_next = where

    def let_go(self) -> None:
        """Of the submit that stands here: one that was stopped before the gateway never reaches it."""
        self._open.set()

    def stand(self, client: tuple[str, int]) -> None:
        self._stop_next = ""
        self.stopped.append(owner(client))
        self._open.wait(120)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._pass()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                where = door._stop_next if self.path == "/v1/jobs" else ""
                if where == "before":
                    door.stand(self.client_address)
                    self.close_connection = True
                    return
                self._pass(body, lambda: door.stand(self.client_address) if where == "after" else None)

            def _pass(self, body: bytes | None = None, on_the_way_back=lambda: None) -> None:  # type: ignore[no-untyped-def]
                headers = {name: value for name, value in self.headers.items() if name.lower() not in OWN_HEADERS}
                url = f"{door.gateway_url}{self.path}"
                reply = httpx.request(self.command, url, content=body, headers=headers, timeout=90)
                on_the_way_back()
                try:
                    self.send_response(reply.status_code)
                    for name, value in reply.headers.items():
                        if name.lower() not in OWN_HEADERS:
                            self.send_header(name, value)
                    self.send_header("Content-Length", str(len(reply.content)))
                    self.end_headers()
                    self.wfile.write(reply.content)
                except OSError:
                    # The client has gone, or was killed.
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        return Handler


def owner(client: tuple[str, int]) -> int:
    """The process at the other end of a connection on this machine."""
    for connection in psutil.net_connections("tcp4"):
        if connection.laddr == client and connection.pid and connection.pid != os.getpid():
            return connection.pid
    raise AssertionError(f"no process has the connection from {client}")
