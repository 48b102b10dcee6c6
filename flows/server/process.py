"""Prefect's own processes as children of `cyclealign up`: each in a session of its own, none outliving its parent.

``python -m flows.server.process ARGUMENTS...`` is such a child: it is the ``prefect`` command, and ends when its
standard input closes, which the kernel sees to however the parent ends. It imports nothing heavy at the top.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE_SECONDS = 20.0
LARGEST_LOG = 10_000_000


@dataclass
class ManagedProcess:
    """A process that was started here, and the file that its output goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(
        cls, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path, keep_open: int
    ) -> "ManagedProcess":
        """Start ``prefect ARGUMENTS``.

        A session of its own keeps the terminal's Ctrl-C away from the child: its parent decides in which order things
        end. ``keep_open`` is a file descriptor (the lock) that the child holds for as long as it lives.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_suffix(".old.log"))
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "flows.server.process", *arguments],
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
        """Whether it is gone."""
        return self.process.poll() is not None

    def stop(self, impatient: Callable[[], bool] = lambda: False) -> None:
        """Ask it to end; make it, when it has not within GRACE_SECONDS or somebody has become impatient."""
        if not self.ended:
            self.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        while not self.ended:
            if time.monotonic() > deadline or impatient():
                self.process.kill()
                self.process.wait()
            time.sleep(0.05)
        if self.process.stdin:
            self.process.stdin.close()

    def last_words(self, lines: int = 12) -> str:
        """The end of its log, for an error message."""
        try:
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


def end_when_closed(descriptor: int) -> None:
    """Wait until the other end of the pipe is closed, then end this process: politely, and by force if that hangs."""
    while os.read(descriptor, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Be the ``prefect`` command, for as long as the parent is there."""
    # A shell starts background jobs with SIGINT ignored. Prefect's worker ends by that signal, and would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent = os.dup(0)  # not handed on to children of this process, unlike 0 itself
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=end_when_closed, args=(parent,), name="parent", daemon=True).start()
    sys.argv = ["prefect", *sys.argv[1:]]
    runpy.run_module("prefect", run_name="__main__")


if __name__ == "__main__":
    main()
