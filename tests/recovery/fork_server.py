"""A process that has imported everything and forks a run in a second, disturbed at stated points.

``python -m tests.recovery.fork_server`` reads a request of JSON a line: ``{"config", "environment", "log", "points"}``
starts a run and answers with its process id; ``{"wait"}`` waits for that process and answers with its exit code.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.recovery.points import Point, Points
from tests.support.paths import ROOT


class ForkServer:
    """Starts runs and waits for them. Use in a ``with`` block."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.recovery.fork_server"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process: subprocess.Popen[str] = subprocess.Popen(command, cwd=ROOT, **pipes)  # type: ignore[call-overload]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def start(self, home: Path, environment: Mapping[str, str], points: Sequence[Point] = ()) -> int:
        """Start a run of the home's config and return its process id."""
        request = {"config": str(home / "run.toml"), "environment": dict(environment), "log": str(home / "runs.log")}
        return self._ask({**request, "points": [asdict(point) for point in points], "home": str(home)})

    def wait(self, pid: int) -> int:
        """Wait for a run that was started, and return its exit code; minus the signal if one killed it."""
        return self._ask({"wait": pid})

    def _ask(self, request: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def run(request: dict[str, Any]) -> int:
    """Run in this forked process; return the exit code."""
    from cyclealign.config import load_config
    from cyclealign.errors import CycleAlignError
    from cyclealign.loop.align import align

    os.setsid()
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as under Prefect, the run's own clean-up follows
    os.environ.update(request["environment"])
    points = Points([Point(**each) for each in request["points"]], Path(request["home"]))
    try:
        align(load_config(Path(request["config"])), points.ports())
    except CycleAlignError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return 1
    return 0


def main() -> None:
    """Serve requests until standard input ends."""
    import cyclealign.loop.align
    import cyclealign.policy.transformers_policy
    import cyclealign.training.trainers  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = _forked(request)
        print(answer, file=answers, flush=True)


def _forked(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        code = run(request)
    except BaseException as error:  # SystemExit of a signal's handler too
        import traceback

        traceback.print_exc()
        code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
