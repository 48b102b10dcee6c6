"""Run a command that ends with its parent: ``python -m cyclealign.policy.vllm_supervisor COMMAND ...``.

The parent holds the other end of standard input, which the kernel closes however the parent ends, SIGKILL included.
Then, and when the command itself ends, the whole process group goes: vLLM's engine process would outlive its server.
The kernel's own signal at a parent's death would not do: it comes when the *thread* that started the child ends.
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
    """Wait until the other end of the pipe is closed, then end this process as SIGTERM would."""
    while os.read(descriptor, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def supervise(command: list[str]) -> None:
    """Run the command; at its end, or at SIGTERM, end every process of this group. Needs a group of its own."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child.terminate()
        threading.Thread(target=lose_patience, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=end_when_closed, args=(0,), daemon=True).start()
    status = child.wait()
    print(f"[supervisor] The command ended with status {status}.", flush=True)
    end_group()


def lose_patience() -> None:
    """End the group by force if it has not ended by itself."""
    time.sleep(GRACE_SECONDS)
    end_group()


def end_group() -> None:
    """Kill every process of this group, this one included."""
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    supervise(sys.argv[1:])
