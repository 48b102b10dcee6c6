"""Processes as children of `cyclealign up`: each in its own session, none outlives its parent.

``python -m flows.server.process MODULE ARGUMENTS...`` runs a module, such as ``prefect``, and exits when its standard
input closes, which the kernel does however the parent ends. It imports nothing heavy at the top.
"""

import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE_SECONDS = 20.0
LARGEST_LOG = 10_000_000
TEMPORARY_VARIABLE = "CYCLEALIGN_WORKER_TEMPORARY"


@dataclass
class ManagedProcess:
    """A child process and its log file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(
        cls,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        keep_open: int,
        module: str = "prefect",
    ) -> "ManagedProcess":
        """Start ``python -m MODULE ARGUMENTS``.

        Its own session keeps the terminal's Ctrl-C away from the child: the parent decides the order of shutdown.

        Args:
            keep_open: a file descriptor (of the lock) that the child holds until it exits.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_suffix(".old.log"))
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "flows.server.process", module, *arguments],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(keep_open,),
            )
        return cls(name, process, log)

    @property
    def ended(self) -> bool:
        """Return whether it has exited."""
        return self.process.poll() is not None

    def stop(self, urgent: Callable[[], bool] = lambda: False) -> None:
        """Terminate it; kill it after GRACE_SECONDS or once ``urgent`` returns True."""
        if not self.ended:
            self.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        while not self.ended:
            if time.monotonic() > deadline or urgent():
                self.process.kill()
                self.process.wait()
            time.sleep(0.05)
        if self.process.stdin:
            self.process.stdin.close()

    def log_tail(self, lines: int = 12) -> str:
        """Return the end of its log, for an error message."""
        try:
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


def end_when_closed(descriptor: int) -> None:
    """Wait until the other end of the pipe is closed, then end this process: SIGTERM, and SIGKILL if that hangs."""
    while os.read(descriptor, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run a module until the parent exits."""
    # A shell starts background jobs with SIGINT ignored. Prefect's worker ends by that signal, and would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent = os.dup(0)  # children of this process do not inherit it, unlike 0 itself
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=end_when_closed, args=(parent,), name="parent", daemon=True).start()
    if folder := os.environ.pop(TEMPORARY_VARIABLE, None):
        tempfile.tempdir = folder  # of this process alone: the runs inherit TMPDIR as the user has set it
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    main()
