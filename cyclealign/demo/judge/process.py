"""The simulated judge as a process: a server on loopback.

Run ``python -m cyclealign.demo.judge.process``, or use `SimulatedJudge` in a ``with`` block. The process prints its
address once it listens, and ends with the process that started it.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from cyclealign.demo.judge.faults import Fault
from cyclealign.demo.judge.model import DEFAULT_NOISE, Behaviour, SchemaSupport
from cyclealign.errors import BadConfig, JudgeUnavailable

KEY_VARIABLE = "SIMULATED_JUDGE_KEY"
HOST = "127.0.0.1"
PARENT_POLL_SECONDS = 0.5
TERMINATION_SECONDS = 5.0  # between SIGTERM and SIGKILL


class SimulatedJudge:
    """A simulated judge in a child process, for the length of a ``with`` block.

    Args:
        position_bias: bonus of the first position over the last, in nats.
        log: file to which one JSON line per ranking is appended.
        faults: simulated faults, as on the command line (``status:500:every:3``).
        key: required API key; None: no key is required.
        port: 0: any free port.
        json_schema: "take" or "refuse" a ``response_format``.
        noise: standard deviation of the random term per answer, in nats.

    Raises (on entering):
        JudgeUnavailable: the process ended before it listened, for example because the port is in use.
    """

    def __init__(
        self,
        position_bias: float = 0.0,
        log: Path | None = None,
        faults: Sequence[str] = (),
        key: str | None = None,
        port: int = 0,
        json_schema: SchemaSupport = "take",
        noise: float = DEFAULT_NOISE,
    ) -> None:
        self._arguments = ["--position-bias", str(position_bias), "--port", str(port), "--parent", str(os.getpid())]
        self._arguments += ["--json-schema", json_schema, "--noise", str(noise)]
        self._arguments += ["--log", str(log)] if log else []
        self._arguments += [part for fault in faults for part in ("--fault", fault)]
        self._key = key
        self._process: subprocess.Popen[str] | None = None
        self.base_url = ""

    def __enter__(self) -> "SimulatedJudge":
        environment = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
        if self._key is not None:
            environment[KEY_VARIABLE] = self._key
        command = [sys.executable, "-m", "cyclealign.demo.judge.process", *self._arguments]
        with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
            )
            self.base_url = self._address(self._process, errors)
        return self

    def _address(self, process: subprocess.Popen[str], errors: IO[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            self._stop()
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["no message"])[-1]
            raise JudgeUnavailable(f"The simulated judge did not start: {last}")
        return str(json.loads(line)["base_url"])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(TERMINATION_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal arrives or the parent ends; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        faults = tuple(Fault.parse(text) for text in options.fault)
        listening = _listen(options.port)
    except (BadConfig, OSError) as error:
        print(f"simulated judge: {error}", file=sys.stderr)
        return 2
    if options.parent is not None:
        threading.Thread(target=_exit_with, args=(options.parent,), daemon=True).start()
    behaviour = Behaviour(options.position_bias, options.noise)
    _serve(listening, behaviour, faults, options.log, options.ready_file, options.json_schema)
    return 0


def _listen(port: int) -> socket.socket:
    """Return a listening socket; with its protocol named, asyncio sends small replies at once, not 40 ms later."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((HOST, port))
    listening.listen(128)
    return listening


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cyclealign.demo.judge.process",
        description="Simulated judge on loopback with the OpenAI chat completions protocol.",
        epilog=f"An API key is required only if the environment variable {KEY_VARIABLE} is set.",
    )
    add = parser.add_argument
    add("--port", type=int, default=0, help="default 0: any free port")
    add("--position-bias", type=float, default=0.0, help="bonus of the first position over the last, in nats")
    add("--noise", type=float, default=DEFAULT_NOISE, help="standard deviation of the random term, in nats")
    add("--ready-file", type=Path, help="file to write the address to, once the judge listens")
    add("--log", type=Path, help="file to append one JSON line per ranking to")
    add("--json-schema", choices=["take", "refuse"], default="take", help="take or refuse a response_format")
    add("--fault", action="append", default=[], help="simulated fault, such as status:500:every:3; repeatable")
    add("--parent", type=int, help="exit when this process id, the parent, has ended")
    return parser


def _serve(
    listening: socket.socket,
    behaviour: Behaviour,
    faults: tuple[Fault, ...],
    log: Path | None,
    ready_file: Path | None,
    json_schema: SchemaSupport,
) -> None:
    # Imported here: processes that only start the child need no web server.
    import uvicorn

    from cyclealign.demo.judge.server import Settings, make_app

    app = make_app(Settings(behaviour, faults, os.environ.get(KEY_VARIABLE) or None, log, json_schema))
    port = listening.getsockname()[1]
    ready = json.dumps({"base_url": f"http://{HOST}:{port}/v1", "port": port})
    print(ready, flush=True)
    if ready_file is not None:
        draft = ready_file.with_name(ready_file.name + ".draft")
        draft.write_text(ready + "\n", encoding="utf-8")
        draft.replace(ready_file)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listening])


def _exit_with(parent: int) -> None:
    """Exit this process soon after its parent has ended.

    Linux's parent-death signal would come too early: it is sent when the *thread* that started the child ends.
    """
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
