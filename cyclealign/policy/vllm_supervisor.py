"""Run a command that ends with its parent process: ``python vllm_supervisor.py COMMAND ...``. Standard library only.

The parent holds the other end of standard input, which the kernel closes however the parent ends, SIGKILL included.
Then, and when the command exits, the whole process group is killed: vLLM's engine process would outlive its server.
Linux's parent-death signal is no substitute: it is sent when the *thread* that started the child ends.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

GRACE_SECONDS = 15.0


def end_when_closed(descriptor: int) -> None:
    """Wait until the other end of the pipe is closed, then send SIGTERM to this process."""
    while os.read(descriptor, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def supervise(command: list[str]) -> None:
    """Run the command; when it exits, or on SIGTERM, kill every process of this group. Requires a group of its own."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child.terminate()
        threading.Thread(target=kill_after_grace_period, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=end_when_closed, args=(0,), daemon=True).start()
    status = child.wait()
    print(f"[supervisor] The command exited with status {status}.", flush=True)
    kill_group()


def kill_after_grace_period() -> None:
    """Kill the group if it has not exited by then."""
    time.sleep(GRACE_SECONDS)
    kill_group()


def kill_group() -> None:
    """Kill every process of this group, including this one."""
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    supervise(sys.argv[1:])
