"""A Prefect server for a run from the terminal: a running one, or one that starts and ends with the run.

Prefect's own temporary server would outlive a killed run, since it is stopped at interpreter exit only.
"""

import importlib
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cyclealign.processes import is_running
from flows.server.environment import HOST, CannotStart, ServerConfig, prefect_answers
from flows.server.process import ManagedProcess

START_SECONDS = 180.0
# A run needs the API only: neither the UI nor the services that run schedules.
LEAN = {"PREFECT_UI_ENABLED": "false", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


@contextmanager
def use_prefect_server(*modules: str) -> Iterator[None]:
    """Set ``PREFECT_API_URL`` for the block: the user's, that of a running `cyclealign up`, or a server started here.

    Args:
        modules: imported while the server starts, since the block will need them.

    Raises:
        CannotStart: no server answers in time.
    """
    if os.environ.get("PREFECT_API_URL"):
        yield
        return
    server = running_server() or ServerConfig.here(free_port())
    environment = server.environment()
    os.environ.update(environment)
    if prefect_answers(server):
        yield
        return
    os.environ.update(LEAN)  # tells the run that its page cannot be seen
    with Path(os.devnull).open() as nothing:
        arguments = ["--no-prompt", "server", "start", "--no-services", "--host", HOST]
        arguments += ["--port", server.url.rpartition(":")[2]]
        process = ManagedProcess.start(
            "run", arguments, {**environment, **LEAN}, server.log_of("run-server"), nothing.fileno()
        )
    try:
        wait_for(process, server, modules)
        yield
    finally:
        flush_logs()
        process.stop()


def wait_for(process: ManagedProcess, server: ServerConfig, modules: Sequence[str]) -> None:
    """Import the modules, which takes about as long as the server's start, then wait until the server answers."""
    for module in modules:
        importlib.import_module(module)
    deadline = time.monotonic() + START_SECONDS
    while not prefect_answers(server):
        if process.ended or time.monotonic() > deadline:
            raise CannotStart(f"The Prefect server did not start. The end of {process.log}:\n{process.log_tail()}")
        time.sleep(0.1)


def flush_logs() -> None:
    """Send the log lines that Prefect still buffers, before the server ends."""
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()


def running_server() -> ServerConfig | None:
    """Return the server of this home's running `cyclealign up`, whose UI then shows this run; None if there is none."""
    server = ServerConfig.here(0)
    try:
        holder = json.loads((server.home / "up.lock").read_text(encoding="utf-8"))
        alive = is_running(holder["pid"], holder["started"])
    except (OSError, ValueError, KeyError):
        return None
    return ServerConfig(holder["url"], server.home, server.folder, external=False) if alive else None


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
