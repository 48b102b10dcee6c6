"""A managed vLLM server: a child process on the loopback address, with a random key, that ends with the run."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cyclealign.config import EngineSettings
from cyclealign.errors import EngineFailed
from cyclealign.files import home
from cyclealign.policy.vllm_client import ServerUnavailable, VllmClient
from cyclealign.policy.vllm_command import HOST, ServedModel, server_command
from cyclealign.processes import environment_without_keys

HERE = Path(__file__).parent
KILL_TIMEOUT_SECONDS = 10.0


def log_file() -> Path:
    """Return the log of all servers of this run, one after another."""
    return home() / "logs" / f"vllm-{os.getpid()}.log"


@dataclass(frozen=True)
class Access:
    """A server for other programs: its name in requests, and its key. It has no development paths."""

    name: str
    key: str


class ManagedServer:
    """One server process: starts when constructed, ends with `stop`. A restart is a new object.

    Args:
        access: None: a server for this run alone, with a random name and key.

    Raises:
        BadConfig: engine.flags contains a reserved flag.
        EngineFailed: the interpreter is missing, or the port is taken.
    """

    def __init__(self, settings: EngineSettings, served: ServedModel, access: Access | None = None) -> None:
        # Random, to distinguish this server from another one on the same port.
        self.name = access.name if access else f"policy-{secrets.token_hex(4)}"
        self.settings = settings
        self._key = access.key if access else secrets.token_urlsafe(32)
        self._development = access is None
        self.port = settings.port or _free_port()
        self.log = log_file()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = server_command(settings, served, self.name, self.port)
        _refuse_taken_port(self.port)
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(HERE / "vllm_supervisor.py"), *command],
                env=self._environment(),
                cwd=self.log.parent,  # python -m would import from the current folder first
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.client = VllmClient(f"http://{HOST}:{self.port}", self._key, settings.timeout_seconds)

    def _environment(self) -> Mapping[str, str]:
        """Return the server's environment, with its key: an argument would show in the list of processes."""
        variables = {
            "VLLM_API_KEY": self._key,
            "PYTHONPATH": str(HERE / "inside_vllm"),
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
            # Enables sleep and the reset of the prefix cache; the middleware requires the key for these paths too.
            "VLLM_SERVER_DEV_MODE": "1" if self._development else "0",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "VLLM_LOGGING_COLOR": "0",
            "VLLM_CPU_KVCACHE_SPACE": str(self.settings.cpu_cache_gib),
        }
        return {**environment_without_keys(), **variables}

    def wait_until_ready(self, each_second: Callable[[int], None] = lambda seconds: None) -> None:
        """Return once the server answers; call ``each_second`` with the seconds waited.

        Raises:
            EngineFailed: the server exited (with the root error of its log), or took too long.
        """
        started, reported = time.monotonic(), 0
        while not self.ended:
            if self._ready():
                return
            waited = time.monotonic() - started
            if waited > self.settings.start_seconds:
                raise EngineFailed(
                    f"vLLM did not start within {waited:.0f} seconds (engine.start_seconds). Its log: {self.log}"
                )
            if waited >= reported + 1:
                reported = int(waited)
                each_second(reported)
            time.sleep(0.2)
        raise EngineFailed(f"vLLM did not start: {self.root_error()}\nIts log: {self.log}")

    def _ready(self) -> bool:
        """Return whether this server answers; another one that took the port does not serve our model name."""
        if not self.client.healthy():
            return False
        with suppress(ServerUnavailable):
            return any(model["id"] == self.name for model in self.client.models())
        return False

    @property
    def ended(self) -> bool:
        """Return whether the process has exited."""
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        """Process id of the supervisor, which is also the process group's."""
        return self._process.pid

    def stop(self) -> None:
        """Stop the server, and wait until all processes of its group have exited."""
        self.client.close()
        if self._process.stdin:
            with suppress(OSError):
                self._process.stdin.close()  # the supervisor stops the group when it reads the end of its input
        self._process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # in case the supervisor itself was killed
            deadline = time.monotonic() + KILL_TIMEOUT_SECONDS
            while time.monotonic() < deadline:
                time.sleep(0.02)
                os.killpg(self._process.pid, 0)  # raises ProcessLookupError once the group is empty

    def root_error(self) -> str:
        """Return the first error in the log of this server, or the last lines of the log."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return root_error_in(file.read().decode("utf-8", errors="replace"))


def root_error_in(log: str) -> str:
    """Return the root error of a vLLM log: its first line of the form ``SomeError: message``, else its last lines.

    An indented line after it is included: pydantic puts the details there. A child process that failed is not the root:
    vLLM inspects a model's class in one, and logs the child's own error after it.
    """
    lines = [
        re.sub(r"^\(\w+ pid=\d+\)\s*((ERROR|INFO|WARNING) [\d-]+ [\d:]+ \[[^\]]*\] ?)?", "", line)
        for line in log.splitlines()
    ]
    for line, next_line in pairwise([*lines, ""]):
        if re.match(r"(\w+\.)*\w*(Error|Exception)\b.*: \S", line.strip()) and not re.search(
            r"Warning|CalledProcessError", line
        ):
            details = next_line.strip() if next_line.startswith("  ") else ""
            return f"{line.strip()} {details}".strip()[:1000]
    output = [line for line in lines if line.strip() and "[supervisor]" not in line]
    return "\n".join(output[-5:]) or "no output"


def _refuse_taken_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise EngineFailed(
                f"Port {port} on {HOST} is taken ({error.strerror}). Set engine.port to another port, or to 0 for any "
                "free one."
            ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
