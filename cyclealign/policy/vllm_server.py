"""A vLLM server of our own: a child process on the loopback address, with a random key, that ends with the run."""

import os
import re
import secrets
import shutil
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
from cyclealign.errors import BadConfig, EngineFailed
from cyclealign.files import home
from cyclealign.policy.vllm_client import EngineClient, EngineGone
from cyclealign.processes import environment_without_keys

HOST = "127.0.0.1"
HERE = Path(__file__).parent
GONE_SECONDS = 10.0
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
LOADED_AT_ONCE = 2
# A prefill in chunks ends the engine of vLLM 0.32 where a request has a seed: a CPU's generator cannot be set back.
CPU_FLAGS = ("--enforce-eager", "--no-enable-chunked-prefill")
# What a run's safety rests on is not for engine.flags to change.
OURS = (
    "model",
    "host",
    "port",
    "uds",
    "api-key",
    "served-model-name",
    "trust-remote-code",
    "no-trust-remote-code",
    "load-format",
    "middleware",
    "config",
    "logprobs-mode",
    "generation-config",
    "max-lora-rank",
    "lora-target-modules",
)


@dataclass(frozen=True)
class Served:
    """What a server is to serve: a model (an absolute folder, or a hub id), and adapters up to a rank (None: none).

    ``lora_modules`` are the layers that adapters may change, which must leave the output head out: with it among them,
    vLLM's log-probs of given texts fail on a CPU, and would be taken at wrong places elsewhere.
    """

    model: str
    revision: str | None
    lora_rank: int | None
    lora_modules: tuple[str, ...]
    trust_remote_code: bool = False


def on_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU; asked of the driver's tool, since no library for it need be here."""
    return shutil.which("nvidia-smi") is not None


def precision(settings: EngineSettings) -> str:
    """The engine's dtype; on a CPU float32, in which the policy is trained there too."""
    return "float32" if settings.dtype == "auto" and not on_gpu() else settings.dtype


def rest_of(settings: EngineSettings) -> str:
    """What the engine does while training runs; a CPU has no sleep mode, and where one is asked for it only pauses."""
    if settings.rest == "auto":
        return "level_1" if on_gpu() else "stop"
    return settings.rest


def log_file() -> Path:
    """Where the servers of this run write, one after another."""
    return home() / "logs" / f"vllm-{os.getpid()}.log"


class ManagedEngine:
    """One server process. Start it, ask through ``client``, stop it; a new start is a new object."""

    def __init__(self, settings: EngineSettings, served: Served) -> None:
        self.name = f"policy-{secrets.token_hex(4)}"  # by it we know our own server from another on the same port
        self.settings = settings
        self._key = secrets.token_urlsafe(32)
        self.port = settings.port or _free_port()
        self.log = log_file()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        interpreter = interpreter_of(settings)
        _refuse_taken(self.port)
        with self.log.open("ab") as output:
            self._log_from = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(HERE / "vllm_supervisor.py"), interpreter, *self._arguments(served)],
                env=self._environment(),
                cwd=self.log.parent,  # python -m looks into the current folder first
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.client = EngineClient(f"http://{HOST}:{self.port}", self._key, settings.timeout_seconds)

    def _arguments(self, served: Served) -> list[str]:
        settings = self.settings
        chosen = ["--dtype", precision(settings), "--disable-uvicorn-access-log"]
        chosen += ["--enable-sleep-mode"] if on_gpu() and rest_of(settings).startswith("level") else []
        chosen += [] if on_gpu() else list(CPU_FLAGS)
        chosen += ["--max-model-len", str(settings.context)] if settings.context else []
        chosen += ["--gpu-memory-utilization", str(settings.gpu_memory)] if settings.gpu_memory else []
        chosen += ["--revision", served.revision, "--tokenizer-revision", served.revision] if served.revision else []
        # Last, so that nothing before can say otherwise.
        fixed = ["--model", served.model, "--served-model-name", self.name, "--host", HOST, "--port", str(self.port)]
        fixed += ["--load-format", "safetensors", "--logprobs-mode", "raw_logprobs", *_for_adapters(served)]
        fixed += ["--generation-config", "vllm", "--middleware", "require_key.RequireKey"]
        fixed += ["--trust-remote-code" if served.trust_remote_code else "--no-trust-remote-code"]
        return ["-m", "vllm.entrypoints.openai.api_server", *chosen, *checked_flags(settings), *fixed]

    def _environment(self) -> Mapping[str, str]:
        """Its own key travels by the environment, since an argument would show in the list of processes."""
        ours = {
            "VLLM_API_KEY": self._key,
            "PYTHONPATH": str(HERE / "inside_vllm"),
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
            "VLLM_SERVER_DEV_MODE": "1",  # sleep and the prefix cache; behind the key, as everything here
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "VLLM_LOGGING_COLOR": "0",
            "VLLM_CPU_KVCACHE_SPACE": str(self.settings.cpu_cache_gib),
        }
        return {**environment_without_keys(), **ours}

    def wait_until_up(self, each_second: Callable[[int], None] = lambda seconds: None) -> None:
        """Return once it answers; ``each_second`` hears for how long we wait.

        Raises:
            EngineFailed: it ended, with its own last words, or took too long.
        """
        started, told = time.monotonic(), 0
        while not self.ended:
            if self._answers():
                return
            passed = time.monotonic() - started
            if passed > self.settings.start_seconds:
                raise EngineFailed(
                    f"vLLM has not come up in {passed:.0f} seconds (engine.start_seconds). Its log: {self.log}"
                )
            if passed >= told + 1:
                told = int(passed)
                each_second(told)
            time.sleep(0.2)
        raise EngineFailed(f"vLLM did not start: {self.last_words()}\nIts log: {self.log}")

    def _answers(self) -> bool:
        """Whether our own server is up; another one that took the port meanwhile does not serve our name."""
        if not self.client.healthy():
            return False
        with suppress(EngineGone):
            return any(each["id"] == self.name for each in self.client.models())
        return False

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        """Of the supervisor, which is also the number of the process group."""
        return self._process.pid

    def stop(self) -> None:
        """End it, and wait until all its processes are gone."""
        self.client.close()
        if self._process.stdin:
            with suppress(OSError):
                self._process.stdin.close()  # the supervisor ends by that
        self._process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # were the supervisor itself killed, the rest is still there
            deadline = time.monotonic() + GONE_SECONDS
            while time.monotonic() < deadline:
                time.sleep(0.02)
                os.killpg(self._process.pid, 0)  # raises once the group is empty

    def last_words(self) -> str:
        """Why it ended, in vLLM's own words: the first error of this start, or the end of its log."""
        with self.log.open("rb") as file:
            file.seek(self._log_from)
            return reason_in(file.read().decode("utf-8", errors="replace"))


def reason_in(log: str) -> str:
    """The root error of a vLLM log: the first line of the form ``SomeError: words``, else its last lines.

    A line of details, indented, goes with it: pydantic says there what is wrong.
    """
    lines = [
        re.sub(r"^\(\w+ pid=\d+\)\s*((ERROR|INFO|WARNING) [\d-]+ [\d:]+ \[[^\]]*\] ?)?", "", line)
        for line in log.splitlines()
    ]
    for line, after in pairwise([*lines, ""]):
        if re.match(r"(\w+\.)*\w*(Error|Exception)\b.*: \S", line.strip()) and "Warning" not in line:
            details = after.strip() if after.startswith("  ") else ""
            return f"{line.strip()} {details}".strip()[:1000]
    told = [line for line in lines if line.strip() and "[supervisor]" not in line]
    return "\n".join(told[-5:]) or "it said nothing"


def _for_adapters(served: Served) -> list[str]:
    """The flags by which adapters can be loaded; none where the weights are whole."""
    if served.lora_rank is None:
        return []
    rank = next((rank for rank in LORA_RANKS if rank >= served.lora_rank), LORA_RANKS[-1])
    at_once = ["--max-loras", str(LOADED_AT_ONCE), "--max-cpu-loras", str(LOADED_AT_ONCE)]
    return ["--enable-lora", *at_once, "--max-lora-rank", str(rank), "--lora-target-modules", *served.lora_modules]


def checked_flags(settings: EngineSettings) -> list[str]:
    """The user's own flags.

    Raises:
        BadConfig: one of them is among those that the run sets itself (also in part: argparse completes options).
    """
    for flag in settings.flags:
        option = flag.partition("=")[0].lstrip("-").replace("_", "-")
        if flag.startswith("-") and any(ours == option or (option and ours.startswith(option)) for ours in OURS):
            raise BadConfig(
                f"engine.flags: '{flag}' is set by the run itself. Leave it out; see docs/configuration.md."
            )
    return list(settings.flags)


def interpreter_of(settings: EngineSettings) -> str:
    """The absolute path of the interpreter; not resolved, since a link out of an environment leads out of it.

    Raises:
        EngineFailed: it is not there.
    """
    path = Path(settings.python).absolute()
    if not path.is_file():
        raise EngineFailed(
            f"There is no {path}, which is to run vLLM. Run `make vllm`, or set engine.python to the interpreter of an "
            'environment that has vLLM, or use policy.kind = "transformers".'
        )
    return str(path)


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise EngineFailed(
                f"Port {port} on {HOST} is taken ({error.strerror}). Set engine.port to another, or to 0 for any that "
                "is free."
            ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
