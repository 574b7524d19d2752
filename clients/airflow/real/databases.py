"""
The database of an Airflow in these tests: SQLite, which needs nothing, or a PostgreSQL of its own on loopback, on which
2.11, too, runs several tasks at once and a stopped process locks nobody out.

``SLUICE_POSTGRES`` names the folder with the drivers for PostgreSQL, and so asks for it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from gateway import free_port, until

DRIVERS = os.environ.get("SLUICE_POSTGRES", "")


class Database(Protocol):
    """For ``with``."""

    #: As Airflow takes it.
    url: str

    def settings(self) -> dict[str, str]:
        """Airflow's, that go with it."""

    def __enter__(self) -> Database: ...

    def __exit__(self, *_: object) -> None: ...

    def rows(self, query: str, *values: Any) -> list[Any]:
        """:param query: with ``?`` for each value"""


def database() -> Database:
    return Postgres() if DRIVERS else Sqlite()


class Sqlite:
    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="sluice-airflow-sqlite-"))
        self.url = f"sqlite:///{self._folder}/airflow.db"

    def settings(self) -> dict[str, str]:
        return {}

    def __enter__(self) -> Sqlite:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def rows(self, query: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._folder}/airflow.db?mode=ro", uri=True, timeout=30)) as connection:
            try:
                return connection.execute(query, values).fetchall()
            except sqlite3.OperationalError as error:
                if "locked" in str(error):
                    return []
                raise


class Postgres:
    """Runs as another user where this is root: it refuses that."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="sluice-airflow-postgres-"))
        self._port = free_port()
        self._user = "postgres" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        #: Kept: every question of a test that waits would be a process of the server.
        self._connection: Any = None
        self.url = f"postgresql+psycopg2://airflow@127.0.0.1:{self._port}/airflow"
        sys.path.append(DRIVERS)

    def settings(self) -> dict[str, str]:
        return {"AIRFLOW__CORE__EXECUTOR": "LocalExecutor", "PYTHONPATH": DRIVERS}

    def __enter__(self) -> Postgres:
        if self._user:
            shutil.chown(self._folder, self._user)
        data = self._folder / "data"
        self._run(program("initdb"), "--auth=trust", "--username=airflow", "--no-sync", f"--pgdata={data}")
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": "",
            "max_connections": 400,
            "fsync": "off",
        }
        self._process = subprocess.Popen(
            [program("postgres"), "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())],
            user=self._user,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._is_up, 60, "PostgreSQL")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            # Ends its connections instead of waiting for them.
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)

    def rows(self, query: str, *values: Any) -> list[Any]:
        if self._connection is None:
            self._connection = self._connect("airflow")
        with self._connection.cursor() as cursor:
            cursor.execute(query.replace("?", "%s"), values)
            return list(cursor.fetchall())

    def _is_up(self) -> bool:
        import psycopg2

        try:
            with closing(self._connect("postgres")) as connection, connection.cursor() as cursor:
                cursor.execute("create database airflow")
        except psycopg2.OperationalError:
            return False
        return True

    def _connect(self, name: str) -> Any:
        import psycopg2

        connection = psycopg2.connect(host="127.0.0.1", port=self._port, user="airflow", dbname=name)
        connection.autocommit = True
        return connection

    def _run(self, *command: str) -> None:
        subprocess.run(command, user=self._user, cwd=self._folder, check=True, capture_output=True)


def program(name: str) -> str:
    """Debian keeps the programs of PostgreSQL's server out of everybody's PATH."""
    debians = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(debians[-1]) if debians else None)
    assert found, f"needs {name}: apt-get install postgresql"
    return found
