"""
What waiting costs: 200 tasks in two triggerers, and beside them 20 that wait in workers as poking sensors, in one run,
which ends while they wait: how they end is tested elsewhere.
Counted are all processes of Airflow and their memory (PSS: what processes share is divided among them), without those
that parse DAG files, which come and go.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from airflow import __version__ as airflow_version
from conftest import MAJOR
from databases import database
from gateway import GatewayForTests, until
from real_airflow import RealAirflow

DEFERRED = 200
POKING = 20
WORKERS = 24
TRIGGERERS = ("triggerer", "triggerer.2")
#: What the gateway may hold for one triggerer.
HELD_PER_TRIGGERER = 2
#: How long it may take to start or end all those tasks on a slow machine, in seconds.
LONG = 1500


@pytest.fixture(scope="module")
def airflow(gateway: GatewayForTests) -> Iterator[RealAirflow]:
    settings = {
        "AIRFLOW_CONN_AGENT_DEFAULT": gateway.connection(),
        "AIRFLOW__CORE__PARALLELISM": str(WORKERS),
        "SLUICE_TEST_DEFERRED": str(DEFERRED),
        "SLUICE_TEST_POKING": str(POKING),
    }
    folder = Path(__file__).parent / "dags"
    with database() as its_database, RealAirflow(MAJOR, its_database, [folder], settings) as running:
        for more in TRIGGERERS[1:]:
            running.start(more)
        os.mkfifo(running.home / "runs" / "end")
        yield running


@dataclass
class Cost:
    processes: int
    #: In MiB, by component.
    memory: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.memory.values())


def test_tasks_that_wait_in_triggerers_hold_no_process_and_one_request_for_each_of_these(airflow, gateway, capsys):
    airflow.trigger("warm_up", "warm_up")
    assert airflow.finished("warm_up", "warm_up", LONG) == "success"
    settled(airflow)
    warm = cost(airflow)

    airflow.trigger("waiting_deferred", "deferred")
    until(lambda: states(airflow, "waiting_deferred") == ["deferred"] * DEFERRED, LONG, "all deferred")
    until(lambda: running_jobs(gateway) == DEFERRED, LONG, "all jobs running")
    settled(airflow)
    # Tasks go to whichever triggerer asks for them first; each has some.
    assert len(airflow.rows("select distinct triggerer_id from trigger")) == len(TRIGGERERS)
    held = list(samples(lambda: held_requests(gateway), seconds=20))
    deferred = cost(airflow)
    assert task_processes(airflow) == []
    assert deferred.processes <= warm.processes
    assert max(held) <= HELD_PER_TRIGGERER * len(TRIGGERERS)
    assert max(held) >= len(TRIGGERERS)

    jobs = [
        job["id"] for job in gateway.call("GET", "/v1/jobs", params={"page_size": POKING, "state": "running"})["items"]
    ]
    airflow.trigger("waiting_poking", "poking", jobs=jobs)
    until(lambda: states(airflow, "waiting_poking") == ["running"] * POKING, LONG, "all poking")
    until(lambda: held_requests(gateway) >= POKING, LONG, "all waiting")
    poking = cost(airflow)
    assert len(task_processes(airflow)) >= POKING

    with capsys.disabled():
        print(report(warm, deferred, poking, held))
    assert (deferred.total - warm.total) / DEFERRED < (poking.total - deferred.total) / POKING / 10


def cost(airflow: RealAirflow) -> Cost:
    components = [*airflow.components(), *TRIGGERERS[1:]]
    counted = {name: [it for it in airflow.processes_of(name) if not parses_dags(it)] for name in components}
    memory = {name: sum(pss(process) for process in processes) for name, processes in counted.items()}
    return Cost(sum(len(processes) for processes in counted.values()), memory)


def pss(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / 2**20
    except psutil.NoSuchProcess:
        return 0.0


def task_processes(airflow: RealAirflow) -> list[psutil.Process]:
    """All that the executor's workers have started; on 3 a worker is also the supervisor of its task."""
    workers = [
        it for it in airflow.processes_of("scheduler") if title(it).startswith("airflow worker -- LocalExecutor")
    ]
    assert len(workers) >= WORKERS
    return [child for worker in workers for child in worker.children(recursive=True) if child not in workers]


def parses_dags(process: psutil.Process) -> bool:
    return bool(re.search("DagFileProcessor", title(process)))


def title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def settled(airflow: RealAirflow) -> None:
    """Nothing runs in a worker any more."""
    until(lambda: not task_processes(airflow), LONG, "no task in a worker")


def states(airflow: RealAirflow, dag_id: str) -> list[str | None]:
    return [row[0] for row in airflow.rows("select state from task_instance where dag_id = ?", dag_id)]


def running_jobs(gateway: GatewayForTests) -> int:
    return int(metric(gateway, r'sluice_jobs\{state="running"\}'))


def held_requests(gateway: GatewayForTests) -> int:
    return int(metric(gateway, "sluice_http_held_requests"))


def metric(gateway: GatewayForTests, name: str) -> float:
    reply = httpx.get(f"{gateway.url}/metrics", headers={"Authorization": f"Bearer {gateway.key}"}, timeout=30)
    found = re.search(rf"^{name} (\S+)$", reply.text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def samples(value: Callable[[], int], seconds: float) -> Iterator[int]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield value()
        time.sleep(0.2)


def report(warm: Cost, deferred: Cost, poking: Cost, held: list[int]) -> str:
    """A table for people, and what it was made from."""
    rows = [
        ("deferred", DEFERRED, deferred.processes - warm.processes, deferred.total - warm.total),
        ('mode="poke"', POKING, poking.processes - deferred.processes, poking.total - deferred.total),
    ]
    lines = [
        "",
        "| Airflow | waiting | tasks | processes a task | PSS a task, MiB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, tasks, processes, memory in rows:
        per_task = f"{max(processes, 0) / tasks:.2f} | {memory / tasks:.2f}"
        lines.append(f"| {airflow_version} | {name} | {tasks} | {per_task} |")
    lines.append(f"Held requests at the gateway for {len(TRIGGERERS)} triggerers: {min(held)} to {max(held)}.")
    for what, its_cost in (("warm", warm), ("deferred", deferred), ("poking", poking)):
        by_component = ", ".join(f"{name} {memory:.0f}" for name, memory in its_cost.memory.items())
        lines.append(f"{what}: {its_cost.processes} processes, PSS in MiB: {by_component}")
    return "\n".join(lines)
