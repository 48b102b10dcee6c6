"""A Prefect server for a run from the terminal: the one that is up, or one of our own that ends with the run.

Prefect's own temporary server would outlive a run that is killed: it is stopped at interpreter exit only.
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
# A run needs the API only: no UI, and none of the services that fire schedules.
LEAN = {"PREFECT_UI_ENABLED": "false", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


@contextmanager
def prefect_at_hand(*modules: str) -> Iterator[None]:
    """Set ``PREFECT_API_URL`` for the block: the user's own, that of a running `cyclealign up`, or one started here.

    Args:
        modules: what the block will import; a server that is starting leaves the time to do it meanwhile.

    Raises:
        CannotStart: no server answers in time.
    """
    if os.environ.get("PREFECT_API_URL"):
        yield
        return
    place = running_up() or ServerConfig.here(free_port())
    environment = place.environment()
    os.environ.update(environment)
    if prefect_answers(place):
        yield
        return
    os.environ.update(LEAN)  # so that the run knows, too, that nobody can see its page
    with Path(os.devnull).open() as nothing:
        arguments = ["--no-prompt", "server", "start", "--no-services", "--host", HOST]
        arguments += ["--port", place.url.rpartition(":")[2]]
        server = ManagedProcess.start(
            "run", arguments, {**environment, **LEAN}, place.log_of("run-server"), nothing.fileno()
        )
    try:
        wait_for(server, place, modules)
        yield
    finally:
        flush_logs()
        server.stop()


def wait_for(server: ManagedProcess, place: ServerConfig, modules: Sequence[str]) -> None:
    """Wait until the server answers; meanwhile do what takes as long: import what the run needs."""
    for module in modules:
        importlib.import_module(module)
    deadline = time.monotonic() + START_SECONDS
    while not prefect_answers(place):
        if server.ended or time.monotonic() > deadline:
            raise CannotStart(f"The Prefect server did not start. The end of {server.log}:\n{server.last_words()}")
        time.sleep(0.1)


def flush_logs() -> None:
    """Hand over the log lines that Prefect still holds back, while there is somebody to hand them to."""
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()


def running_up() -> ServerConfig | None:
    """The server of a `cyclealign up` of this home that is alive, whose UI then shows this run too."""
    place = ServerConfig.here(0)
    try:
        holder = json.loads((place.home / "up.lock").read_text(encoding="utf-8"))
        alive = is_running(holder["pid"], holder["started"])
    except (OSError, ValueError, KeyError):
        return None
    return ServerConfig(holder["url"], place.home, place.folder, theirs=False) if alive else None


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
