"""What `cyclealign up` gives its processes by their environment, and the lock by which a home has only one of it."""

import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from cyclealign.errors import CycleAlignError
from cyclealign.files import HOME_VARIABLE, home
from cyclealign.processes import is_running, start_time
from cyclealign.store.database import URL_VARIABLE, database_url, parse_url

HOST = "127.0.0.1"
FOLDER_VARIABLE = "CYCLEALIGN_FOLDER"
PATIENCE_SECONDS = 60.0

# What the user has set stays.
DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # In memory, which is Prefect's own default, a slot whose holder dies while the server restarts is lost for ever.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "cyclealign,flows",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "TOKENIZERS_PARALLELISM": "false",
}


class CannotStart(CycleAlignError):
    """The Prefect server, the worker or the deployments could not be brought up."""


@dataclass(frozen=True)
class ServerConfig:
    """Where everything is: the server's address, and the folders of this machine."""

    url: str
    home: Path
    folder: Path
    theirs: bool

    @classmethod
    def here(cls, port: int) -> "ServerConfig":
        """The server of ``PREFECT_API_URL`` where the user has set it, else one of our own on this machine."""
        given = os.environ.get("PREFECT_API_URL", "").rstrip("/")
        return cls(given.removesuffix("/api") or f"http://{HOST}:{port}", home(), Path.cwd(), bool(given))

    @property
    def api(self) -> str:
        """The address that programs use."""
        return f"{self.url}/api"

    @property
    def worker(self) -> str:
        """A name for this home's worker; the same at every start, so that its interrupted runs can be told."""
        digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:8]
        return f"cyclealign-{socket.gethostname()}-{digest}"

    def log_of(self, name: str) -> Path:
        """The file that a child's output goes to."""
        return self.home / "logs" / f"{name}.log"

    def environment(self) -> dict[str, str]:
        """For the server, and for registering. Secrets travel by inheritance only, and are stored nowhere."""
        prefect_home = os.environ.get("PREFECT_HOME") or str(self.home / "prefect")
        # Any page in the user's browser can send requests to this machine; it must not be let in by the server.
        origins = ",".join((self.url, self.url.replace(HOST, "localhost")))
        ours = {
            "PREFECT_HOME": prefect_home,
            # Prefect's own default is a folder inside site-packages, which may be shared or not writable.
            "PREFECT_UI_STATIC_DIRECTORY": str(Path(prefect_home) / "ui"),
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origins,
            HOME_VARIABLE: str(self.home),
        }
        without = {name: value for name, value in os.environ.items() if name != FOLDER_VARIABLE}
        environment = {**DEFAULTS, **ours, **without, "PREFECT_API_URL": self.api, HOME_VARIABLE: str(self.home)}
        if environment.get(URL_VARIABLE, "").strip():
            environment[URL_VARIABLE] = parse_url(database_url()).render_as_string(hide_password=False)
        return environment

    def worker_environment(self) -> dict[str, str]:
        """For the worker, whose runs inherit it: also the folder in which they work."""
        return {**self.environment(), FOLDER_VARIABLE: str(self.folder)}


def prefect_answers(place: ServerConfig) -> bool:
    """Whether a Prefect server answers there.

    Raises:
        CannotStart: something else does, or the server that the user named is not there.
    """
    try:
        reply = httpx.get(f"{place.api}/health", timeout=5.0, follow_redirects=False)
        is_prefect = reply.status_code == 200 and reply.json() is True
    except httpx.ConnectError:
        if place.theirs:
            raise CannotStart(
                f"No Prefect server answers at PREFECT_API_URL = {place.api}. Start it, or unset the variable to have "
                "one started here."
            ) from None
        return False
    except (httpx.HTTPError, ValueError):
        is_prefect = False
    if not is_prefect:
        raise CannotStart(
            f"Something answers at {place.url} that is not a Prefect server. Stop it, or choose another port: "
            "`cyclealign up --port 4300`."
        )
    return True


@contextmanager
def only_one(place: ServerConfig) -> Iterator[int]:
    """Hold the home's lock, and yield its file descriptor: children that inherit it hold it too, until they are gone.

    Raises:
        CannotStart: another `cyclealign up` uses this home, or processes of one that was killed do not end.
    """
    place.home.mkdir(parents=True, exist_ok=True)
    with (place.home / "up.lock").open("a+") as file:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _locked(file.fileno()):
            _refuse_second(place, file.name)
            if time.monotonic() > deadline:
                raise CannotStart(
                    f"A Prefect server or worker of an earlier `cyclealign up` still holds {file.name}. "
                    "End it (`ps aux | grep flows.server.process` shows it), then start again."
                )
            time.sleep(0.2)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "started": start_time(), "url": place.url}))
        file.flush()
        yield file.fileno()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_second(place: ServerConfig, lock: str) -> None:
    """Raise CannotStart if the holder of the lock is alive; otherwise its children are still on their way out."""
    try:
        holder = json.loads(Path(lock).read_text(encoding="utf-8"))
    except ValueError:  # it has not written its file yet
        return
    if is_running(holder["pid"], holder["started"]):
        raise CannotStart(
            f"It is up already, for {place.home}: {holder['url']} (process {holder['pid']}). Stop that one with "
            f"Ctrl-C, or give this one a folder of its own by {HOME_VARIABLE} and another --port."
        )
