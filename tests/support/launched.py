"""`cyclealign up` as a separate process with its own port and home, and the API of its server."""

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

PATIENCE_SECONDS = 240.0  # only an upper bound, for a busy machine


def free_port() -> int:
    """Return a port of the loopback address that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: str, come: Callable[[], Any]) -> Any:
    """Poll ``come`` until it returns a true value, and return the value.

    Args:
        what: name of the event, for the failure message.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := come()):
        assert time.monotonic() < deadline, f"Timed out after {PATIENCE_SECONDS:.0f} seconds: {what}"
        time.sleep(0.25)
    return value


class Launched:
    """A folder in which `cyclealign up` is started, stopped and restarted.

    Args:
        folder: working directory; home and log are created in it.
        environment: additional environment variables.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder, self.home, self.port = folder, folder / "home", free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.environment = {
            **inherited,
            "CYCLEALIGN_HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            # The server creates scheduled runs every 2 seconds (default: 60), 30 seconds ahead (default: an hour).
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
            "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT30S",
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def said(self) -> str:
        """Return the output so far."""
        return (self.folder / "up.log").read_text(encoding="utf-8")

    def begin(self) -> Self:
        """Start `cyclealign up`, unless it is running, and wait until it is ready."""
        if self.process is not None and self.process.poll() is None:
            return self
        command = [sys.executable, "-m", "cyclealign.cli.main", "up", "--port", str(self.port)]
        with (self.folder / "up.log").open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )
        until("the start of cyclealign up", lambda: "is up" in self.said or self.ended())
        assert not self.ended(), self.said
        return self

    def ended(self) -> bool:
        """Return whether the launcher is not running."""
        return self.process is None or self.process.poll() is not None

    def end(self, with_signal: signal.Signals = signal.SIGINT) -> int:
        """Signal the launcher alone, wait for it and all its children to end, and return its exit status."""
        if self.process is None:
            return 0
        family = [self.process.pid, *(child.pid for child in self.family())]
        self.process.send_signal(with_signal)
        status = self.process.wait(PATIENCE_SECONDS)
        until("the end of the launcher's children", lambda: not any(alive(pid) for pid in family))
        self.process = None
        return status

    def family(self) -> list[psutil.Process]:
        """Return the running children: server, worker, and the processes of runs."""
        return psutil.Process(self.process.pid).children(recursive=True) if self.process else []

    def close(self) -> None:
        """Kill the launcher and all remaining children, by process id."""
        family = self.family() if not self.ended() else []
        if self.process is not None and not self.ended():
            self.process.kill()
            self.process.wait()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to the server and return its JSON.

        Repeats 503, the status while SQLite is busy, as Prefect's own client does.
        """

        def come() -> httpx.Response | None:
            reply = httpx.request(method, f"{self.url}/api{path}", json=body, timeout=60.0)
            return None if reply.status_code == 503 else reply

        reply: httpx.Response = until(f"the reply to {method} {path}", come)
        reply.raise_for_status()
        return reply.json() if reply.content else None

    def deployment(self, name: str) -> dict[str, Any]:
        """Return the deployment ``flow/deployment``."""
        deployment: dict[str, Any] = self.ask("GET", f"/deployments/name/{name}")
        return deployment

    def start_run(self, name: str, **parameters: Any) -> str:
        """Start a run of a deployment, as the form does, and return its id."""
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.ask("POST", f"/deployments/{self.deployment(name)['id']}/create_flow_run", body)["id"])

    def schedule(self, name: str, **parameters: Any) -> str:
        """Create a schedule that fires every 15 seconds and return its id."""
        path = f"/deployments/{self.deployment(name)['id']}/schedules"
        schedules = self.ask("POST", path, [{"schedule": {"interval": 15.0}, "active": True, "parameters": parameters}])
        return str(schedules[0]["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a flow run."""
        run: dict[str, Any] = self.ask("GET", f"/flow_runs/{run_id}")
        return run

    def runs(self) -> list[dict[str, Any]]:
        """Return all flow runs, oldest first."""
        runs: list[dict[str, Any]] = self.ask("POST", "/flow_runs/filter", {"sort": "START_TIME_ASC"})
        return runs

    def wait_for_state(self, run_id: str, *names: str) -> dict[str, Any]:
        """Wait for one of the states and return the run; fail at once if it ends in another state."""

        def come() -> dict[str, Any] | None:
            run = self.run(run_id)
            if run["state"]["name"] in names:
                return run
            assert run["state"]["type"] not in ("COMPLETED", "FAILED", "CANCELLED"), run["state"]
            return None

        run: dict[str, Any] = until(f"a run in state {names}", come)
        return run

    def states_of(self, run_id: str) -> list[str]:
        """Return the names of all states of the run, oldest first."""
        states = self.ask("GET", f"/flow_run_states/?flow_run_id={run_id}")
        return [state["name"] for state in sorted(states, key=lambda state: str(state["timestamp"]))]


def alive(pid: int) -> bool:
    """Return whether the process exists and is not a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def launched(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Launched]:
    """Yield a launcher, not yet started, and close it after the block."""
    launcher = Launched(folder, environment)
    try:
        yield launcher
    finally:
        launcher.close()
