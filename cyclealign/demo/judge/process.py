"""The simulated judge as a process.

Run ``python -m cyclealign.demo.judge.process``, or use `SimulatedJudge` in a ``with`` block.

It listens on loopback only, tells its address once it does, and ends with the process that started it.
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
LOOK_SECONDS = 0.5  # how often the child looks whether its parent is still there
PATIENCE_SECONDS = 5.0


class SimulatedJudge:
    """A simulated judge in a child process, for the length of a ``with`` block.

    Args:
        position_bias: how much better the first place looks than the last, in nats.
        log: a file that gets one JSON line for each ranking given.
        faults: simulated faults, as on the command line (``status:500:every:3``).
        key: the API key that it asks for; None lets everyone in.
        port: 0 takes a free one.
        json_schema: whether it takes a ``response_format`` ("take") or refuses it ("refuse").
        noise: deviation of its whims, in nats.

    Raises (on entering):
        JudgeUnavailable: the process ended before it listened, for example because the port is taken.
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
        with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, text=True
            )
            self.base_url = self._address(self._process, complaints)
        return self

    def _address(self, process: subprocess.Popen[str], complaints: IO[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            self._end()
            complaints.seek(0)
            last = (complaints.read().strip().splitlines() or ["no message"])[-1]
            raise JudgeUnavailable(f"The simulated judge did not start: {last}")
        return str(json.loads(line)["base_url"])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes or the parent ends; return the exit code."""
    given = _parser().parse_args(arguments)
    try:
        faults = tuple(Fault.parse(text) for text in given.fault)
        listening = _listen(given.port)
    except (BadConfig, OSError) as error:
        print(f"simulated judge: {error}", file=sys.stderr)
        return 2
    if given.parent is not None:
        threading.Thread(target=_end_with, args=(given.parent,), daemon=True).start()
    manner = Behaviour(given.position_bias, given.noise)
    _serve(listening, manner, faults, given.log, given.ready_file, given.json_schema)
    return 0


def _listen(port: int) -> socket.socket:
    """A listening socket that names its protocol: asyncio then sends small replies at once, not 40 ms later."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((HOST, port))
    listening.listen(128)
    return listening


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cyclealign.demo.judge.process",
        description="A simulated judge on loopback that speaks the OpenAI chat completions protocol.",
        epilog=f"It asks for an API key only if the environment variable {KEY_VARIABLE} holds one.",
    )
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--position-bias", type=float, default=0.0, help="first place over last place, in nats")
    parser.add_argument("--noise", type=float, default=DEFAULT_NOISE, help="deviation of its whims, in nats")
    parser.add_argument("--ready-file", type=Path, help="written with the address once it listens")
    parser.add_argument("--log", type=Path, help="gets one JSON line for each ranking given")
    parser.add_argument("--json-schema", choices=["take", "refuse"], default="take", help="replies held to a schema")
    parser.add_argument("--fault", action="append", default=[], help="a simulated fault, e.g. status:500:every:3")
    parser.add_argument("--parent", type=int, help="end when this process, the parent, has ended")
    return parser


def _serve(
    listening: socket.socket,
    manner: Behaviour,
    faults: tuple[Fault, ...],
    log: Path | None,
    ready_file: Path | None,
    json_schema: SchemaSupport,
) -> None:
    # Imported here so that those who only start the child process do not load a web server.
    import uvicorn

    from cyclealign.demo.judge.server import Settings, make_app

    app = make_app(Settings(manner, faults, os.environ.get(KEY_VARIABLE) or None, log, json_schema))
    port = listening.getsockname()[1]
    ready = json.dumps({"base_url": f"http://{HOST}:{port}/v1", "port": port})
    print(ready, flush=True)
    if ready_file is not None:
        draft = ready_file.with_name(ready_file.name + ".draft")
        draft.write_text(ready + "\n", encoding="utf-8")
        draft.replace(ready_file)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listening])


def _end_with(parent: int) -> None:
    """End this process soon after its parent did, however that ended.

    A signal on the parent's death would come too early: Linux sends it when the *thread* that started the child ends.
    """
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
