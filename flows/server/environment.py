"""The address and folders of `cyclealign up`, its processes' environment, and the lock that allows one per home."""

import fcntl
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from cyclealign.browse import PAGES_VARIABLE
from cyclealign.errors import CycleAlignError
from cyclealign.files import HOME_VARIABLE, home
from cyclealign.processes import is_running, start_time
from cyclealign.store.database import URL_VARIABLE, database_url, parse_url
from flows.server.process import TEMPORARY_VARIABLE

HOST = "127.0.0.1"
FOLDER_VARIABLE = "CYCLEALIGN_FOLDER"
DEFAULT_PAGES_PORT = 4201
LOCK_TIMEOUT_SECONDS = 60.0

# Only for variables that the user has not set.
DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # In memory, which is Prefect's own default, a slot whose holder dies while the server restarts is lost for good.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "cyclealign,flows",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "TOKENIZERS_PARALLELISM": "false",
}


class CannotStart(CycleAlignError):
    """The Prefect server, the worker or the deployments could not be started."""


@dataclass(frozen=True)
class ServerConfig:
    """The address of the Prefect server and the folders of this machine.

    Args:
        url: without ``/api``.
        home: database, models, adapters and logs.
        folder: the working folder of the runs.
        external: the user named the server, so it is not started here.
    """

    url: str
    home: Path
    folder: Path
    external: bool

    @classmethod
    def here(cls, port: int) -> "ServerConfig":
        """Return the server at ``PREFECT_API_URL`` if the user has set it, else one on this machine."""
        given = os.environ.get("PREFECT_API_URL", "").rstrip("/")
        return cls(given.removesuffix("/api") or f"http://{HOST}:{port}", home(), Path.cwd(), bool(given))

    @property
    def api(self) -> str:
        """Return the address of the API."""
        return f"{self.url}/api"

    @property
    def pages_port(self) -> int:
        """Return the port of the pages over the history: the one after that of a Prefect server of this machine."""
        port = urlsplit(self.url).port
        return DEFAULT_PAGES_PORT if self.external or port is None else port + 1

    @property
    def pages_url(self) -> str:
        """Return the address of the pages over the history, without the token."""
        return f"http://{HOST}:{self.pages_port}"

    @property
    def worker(self) -> str:
        """Return the name of this home's worker: the same at every start, so that its interrupted runs can be found."""
        digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:8]
        return f"cyclealign-{socket.gethostname()}-{digest}"

    @property
    def temporary(self) -> Path:
        """Return the folder of the worker's temporary files, in which Prefect writes the runs' environment."""
        return self.home / "tmp"

    def log_of(self, name: str) -> Path:
        """Return the file for a child process's output."""
        return self.home / "logs" / f"{name}.log"

    def environment(self) -> dict[str, str]:
        """Return the environment of the server and of `prefect deploy`. Secrets are inherited only, never stored."""
        prefect_home = os.environ.get("PREFECT_HOME") or str(self.home / "prefect")
        # Any page in the user's browser can send requests to this machine; the server must not accept them.
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
        """Return the environment of the worker, which its runs inherit: also their working folder."""
        ours = {
            FOLDER_VARIABLE: str(self.folder),
            TEMPORARY_VARIABLE: str(self.temporary),
            PAGES_VARIABLE: self.pages_url,
        }
        return {**self.environment(), **ours}


def sweep(server: ServerConfig) -> None:
    """Empty the worker's temporary folder, readable by the user alone: a killed run leaves its environment there."""
    shutil.rmtree(server.temporary, ignore_errors=True)
    server.temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
    server.temporary.chmod(0o700)


def prefect_answers(server: ServerConfig) -> bool:
    """Return whether a Prefect server answers at the address.

    Raises:
        CannotStart: something else answers, or an external server does not.
    """
    try:
        reply = httpx.get(f"{server.api}/health", timeout=5.0, follow_redirects=False)
        is_prefect = reply.status_code == 200 and reply.json() is True
    except httpx.ConnectError:
        if server.external:
            raise CannotStart(
                f"No Prefect server answers at PREFECT_API_URL = {server.api}. Start it, or unset the variable to have "
                "one started here."
            ) from None
        return False
    except (httpx.HTTPError, ValueError):
        is_prefect = False
    if not is_prefect:
        raise CannotStart(
            f"Something answers at {server.url} that is not a Prefect server. Stop it, or choose another port: "
            "`cyclealign up --port 4300`."
        )
    return True


@contextmanager
def home_lock(server: ServerConfig) -> Iterator[int]:
    """Hold the home's lock and yield its file descriptor; children that inherit it hold the lock until they exit.

    Raises:
        CannotStart: another `cyclealign up` uses this home, or processes of a killed one do not exit.
    """
    server.home.mkdir(parents=True, exist_ok=True)
    with (server.home / "up.lock").open("a+") as file:
        deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
        while not _locked(file.fileno()):
            _require_single(server, file.name)
            if time.monotonic() > deadline:
                raise CannotStart(
                    f"A Prefect server or worker of an earlier `cyclealign up` still holds {file.name}. "
                    "Kill it (`ps aux | grep flows.server.process` shows it), then rerun."
                )
            time.sleep(0.2)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "started": start_time(), "url": server.url}))
        file.flush()
        yield file.fileno()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _require_single(server: ServerConfig, lock: str) -> None:
    """Raise CannotStart if the holder of the lock is alive; otherwise its children are about to exit."""
    try:
        holder = json.loads(Path(lock).read_text(encoding="utf-8"))
    except ValueError:  # it has not written its file yet
        return
    if is_running(holder["pid"], holder["started"]):
        raise CannotStart(
            f"cyclealign is already up for {server.home}: {holder['url']} (process {holder['pid']}). Stop it with "
            f"Ctrl-C, or set {HOME_VARIABLE} to another folder and choose another --port."
        )
