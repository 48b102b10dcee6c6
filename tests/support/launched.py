"""`cyclealign up` as a process of its own, on a free port and with a home of its own, and its server's API."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from tests.support.paths import ROOT

PATIENCE_SECONDS = 240.0  # a bound for a busy machine; nothing waits that long when it works


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: str, come: Callable[[], Any]) -> Any:
    """Poll until ``come`` gives something true, and return that."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := come()):
        assert time.monotonic() < deadline, f"Waited {PATIENCE_SECONDS:.0f} seconds in vain for: {what}"
        time.sleep(0.25)
    return found


class Launched:
    """One folder from which `cyclealign up` is started, stopped and started again."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder, self.home, self.port = folder, folder / "home", free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.environment = {
            **inherited,
            "CYCLEALIGN_HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            # How often the server makes runs of schedules (every minute by default), and how far ahead (an hour).
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
            "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT30S",
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def said(self) -> str:
        return (self.folder / "up.log").read_text(encoding="utf-8")

    def begin(self) -> Self:
        """Start it, unless it is up, and wait until it says so."""
        if self.process is not None and self.process.poll() is None:
            return self
        command = [sys.executable, "-m", "cyclealign.cli.main", "up", "--port", str(self.port)]
        with (self.folder / "up.log").open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )
        until("cyclealign up", lambda: "is up" in self.said or self.ended())
        assert not self.ended(), self.said
        return self

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def end(self, with_signal: signal.Signals = signal.SIGINT) -> int:
        """Send a signal to the launcher alone; return its status once it and all that it started are gone."""
        if self.process is None:
            return 0
        family = [self.process.pid, *(child.pid for child in self.family())]
        self.process.send_signal(with_signal)
        status = self.process.wait(PATIENCE_SECONDS)
        until("its children's end", lambda: not any(alive(pid) for pid in family))
        self.process = None
        return status

    def family(self) -> list[psutil.Process]:
        """Server, worker, and the processes of runs."""
        return psutil.Process(self.process.pid).children(recursive=True) if self.process else []

    def close(self) -> None:
        """End whatever is left, by process id."""
        family = self.family() if not self.ended() else []
        if self.process is not None and not self.ended():
            self.process.kill()
            self.process.wait()
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A request to the server; SQLite answers 503 while it is busy, which Prefect's own client waits out too."""

        def come() -> httpx.Response | None:
            reply = httpx.request(method, f"{self.url}/api{path}", json=body, timeout=60.0)
            return None if reply.status_code == 503 else reply

        reply: httpx.Response = until(f"an answer to {method} {path}", come)
        reply.raise_for_status()
        return reply.json() if reply.content else None

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/deployments/name/{name}")
        return found

    def start_run(self, name: str, **parameters: Any) -> str:
        """As the form does; returns the run's id."""
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.ask("POST", f"/deployments/{self.deployment(name)['id']}/create_flow_run", body)["id"])

    def schedule(self, name: str, **parameters: Any) -> str:
        """Make a schedule that fires every few seconds; returns its id."""
        path = f"/deployments/{self.deployment(name)['id']}/schedules"
        made = self.ask("POST", path, [{"schedule": {"interval": 15.0}, "active": True, "parameters": parameters}])
        return str(made[0]["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/flow_runs/{run_id}")
        return found

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("POST", "/flow_runs/filter", {"sort": "START_TIME_ASC"})
        return found

    def wait_for_state(self, run_id: str, *names: str) -> dict[str, Any]:
        """The run, once it is in one of the states; fails at once where it has ended in another."""

        def come() -> dict[str, Any] | None:
            run = self.run(run_id)
            if run["state"]["name"] in names:
                return run
            assert run["state"]["type"] not in ("COMPLETED", "FAILED", "CANCELLED"), run["state"]
            return None

        found: dict[str, Any] = until(f"run in state {names}", come)
        return found

    def states_of(self, run_id: str) -> list[str]:
        """All states that the run has been in, oldest first."""
        states = self.ask("GET", f"/flow_run_states/?flow_run_id={run_id}")
        return [each["name"] for each in sorted(states, key=lambda each: str(each["timestamp"]))]


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def launched(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Launched]:
    """A launcher for the block, not yet started."""
    one = Launched(folder, environment)
    try:
        yield one
    finally:
        one.close()
