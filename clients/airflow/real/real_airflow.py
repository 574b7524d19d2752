"""
A real Airflow on loopback: scheduler, triggerer, and on 3 the API server and the DAG processor, each a process of its
own, in a home that is removed at the end. What it knows is read from its database and its log files.

Airflow is the one whose Python runs this; the client is the single file (``SLUICE_CLIENT=file``) in the plugins folder,
or the package, where ``SLUICE_PACKAGE`` says it is installed, else its sources.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
from airflow_settings import BIN, airflow_settings
from databases import Database
from gateway import free_port, until

CLIENT = Path(__file__).resolve().parents[1]
SINGLE_FILE = os.environ.get("SLUICE_CLIENT") == "file"
#: How long a part of Airflow may take to end by itself, in seconds.
STOP_SECONDS = 10


class RealAirflow:
    """For ``with``. :param major: 2 or 3 :param settings: further environment variables"""

    def __init__(self, major: int, database: Database, dag_folders: list[Path], settings: dict[str, str]) -> None:
        self.major = major
        self._database = database
        self.home = Path(tempfile.mkdtemp(prefix="sluice-airflow-real-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for folder in dag_folders:
            shutil.copytree(folder, self.home / "dags", dirs_exist_ok=True)
        (self.home / "plugins").mkdir()
        (self.home / "runs").mkdir()
        self.env = {
            **os.environ,
            **airflow_settings(major, self.home, database.url, self.port),
            **database.settings(),
            **settings,
        }
        if SINGLE_FILE:
            shutil.copytree(CLIENT / "plugins", self.home / "plugins", dirs_exist_ok=True)
        else:
            package = os.environ.get("SLUICE_PACKAGE") or str(CLIENT / "src")
            self.env["PYTHONPATH"] = f"{package}:{self.env.get('PYTHONPATH', '')}"

    def __enter__(self) -> RealAirflow:
        try:
            self.run("airflow", "db", "migrate")
            self.start_all(self.components())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._processes):
            self.stop(name)
        if not os.environ.get("SLUICE_KEEP_AIRFLOW_HOME"):
            shutil.rmtree(self.home, ignore_errors=True)

    def components(self) -> list[str]:
        return [*(["api-server", "dag-processor"] if self.major == 3 else []), "scheduler", "triggerer"]

    def start_all(self, names: list[str]) -> None:
        for name in names:
            self.start(name)
            if name == "api-server":
                # On 3 a task that starts before it is there fails.
                until(self._health, 120, "the API server")
        if self.major == 3:
            until(self._is_healthy, 120, "scheduler, triggerer and DAG processor")

    def start(self, name: str) -> None:
        """:param name: a component; one more of the same is called ``triggerer.2``, say"""
        component = name.split(".")[0]
        arguments = ["--skip-serve-logs"] if component in ("scheduler", "triggerer") else []
        if component in ("api-server", "webserver"):
            arguments = ["--host" if self.major == 3 else "--hostname", "127.0.0.1", "--port", str(self.port)]
        self._processes[name] = subprocess.Popen(
            [str(BIN / "airflow"), component, *arguments],
            env=self.env,
            stdout=(self.home / f"{name}.log").open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        """As a container is stopped: itself by the signal, and some time later all that it started is killed."""
        started = self.processes_of(name)
        process = self._processes.pop(name)
        if number != signal.SIGKILL:
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # Tasks of 2.11 are in process groups of their own.
        for one in started:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(20)

    def signal(self, name: str, number: int) -> None:
        """To all of its processes."""
        for process in self.processes_of(name):
            process.send_signal(number)

    def processes_of(self, name: str) -> list[psutil.Process]:
        """A component's own, with all that it started and that these started."""
        process = psutil.Process(self._processes[name].pid)
        try:
            return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]], env=self.env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, (
            f"{command} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
        return done.stdout

    def trigger(self, dag_id: str, run_id: str, **conf: Any) -> None:
        until(lambda: self.rows("select 1 from dag where dag_id = ?", dag_id), 120, f"{dag_id} parsed")
        self.run("airflow", "dags", "trigger", "--run-id", run_id, "--conf", json.dumps(conf), dag_id)

    def clear(self, dag_id: str) -> None:
        """The task ``wait`` in all its runs: the command line of 2.11 tells them apart only by their time."""
        self.run("airflow", "tasks", "clear", "--yes", dag_id, "--task-regex", "wait")

    def states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """By task id, with the map index behind a dot where there is one."""
        rows = self.rows(
            "select task_id, map_index, state from task_instance where dag_id = ? and run_id = ?", dag_id, run_id
        )
        return {row[0] if row[1] < 0 else f"{row[0]}.{row[1]}": row[2] for row in rows}

    def tries(self, dag_id: str, run_id: str, task_id: str) -> int:
        query = "select try_number from task_instance where dag_id = ? and run_id = ? and task_id = ?"
        tries: int = self.rows(query, dag_id, run_id, task_id)[0][0]
        return tries

    def heartbeat(self, job_id: int) -> Any:
        """When a scheduler or a triggerer was last heard of, by its id in the database."""
        return self.rows("select latest_heartbeat from job where id = ?", job_id)[0][0]

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        for name, process in self._processes.items():
            assert process.poll() is None, f"the {name} has ended:\n{self.evidence()}"
        rows = self.rows("select state from dag_run where dag_id = ? and run_id = ?", dag_id, run_id)
        return rows[0][0] if rows else None

    def finished(self, dag_id: str, run_id: str, seconds: float) -> str:
        """:returns: the run's last state"""
        state: str = until(
            lambda: (state := self.run_state(dag_id, run_id)) in ("success", "failed") and state,
            seconds,
            f"{dag_id} {run_id} over; its tasks are {self.states(dag_id, run_id)}",
        )
        return state

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        rows = self.rows(
            "select value from xcom where dag_id = ? and run_id = ? and task_id = ? and key = ? and map_index = ?",
            *(dag_id, run_id, task_id, key, map_index),
        )
        assert rows, f"{task_id} has pushed no {key}"
        value = rows[0][0]
        if self.major == 2:
            return json.loads(bytes(value))
        # Airflow 3 keeps JSON in a column that is JSON itself, which the driver for PostgreSQL has read already.
        while isinstance(value, str) and value[:1] in '{["':
            value = json.loads(value)
        return value

    def log(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        if map_index >= 0:
            folder /= f"map_index={map_index}"
        return "\n".join(path.read_text() for path in sorted(folder.glob("*.log*")))

    def logs(self, dag_id: str, run_id: str) -> str:
        """Of all tasks of a run."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        return "\n".join(path.read_text() for path in sorted(folder.rglob("*.log*")))

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Of its database. Empty while that is locked."""
        return self._database.rows(query, *values)

    def runs(self, name: str) -> list[int]:
        """The processes that the jobs of this name have run in, as each has written down itself."""
        file = self.home / "runs" / name
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def evidence(self) -> str:
        """The ends of what the components and the newest tasks wrote."""
        tasks = sorted(self.home.glob("logs/dag_id=*/**/*.log"), key=lambda path: path.stat().st_mtime)
        logs = [*sorted(self.home.glob("*.log")), *tasks[-4:]]
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in logs)

    def _is_healthy(self) -> bool:
        health = self._health()
        return all(health[part]["status"] == "healthy" for part in ("scheduler", "triggerer", "dag_processor"))

    def _health(self) -> dict[str, Any]:
        """Empty while the API server is not there."""
        try:
            health: dict[str, Any] = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
        except (httpx.HTTPError, ValueError):
            return {}
        return health
