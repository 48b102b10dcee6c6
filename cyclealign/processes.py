"""Liveness of processes, and child processes that do not outlive the run that started them."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Mapping

import psutil

# Start times are kept rounded to hundredths of a second, and read back with an error of one tick of the kernel's clock.
START_TOLERANCE_SECONDS = 0.1


def start_time() -> float:
    """Return the start time of this process in seconds since the epoch: with the process id, it names the process."""
    return float(psutil.Process().create_time())


def is_running(pid: int, started: float | None = None) -> bool:
    """Return whether a process of this machine still exists.

    Args:
        pid: its process id, which the system gives to another process some time after it has ended.
        started: its `start_time`; None if unknown: any process with this id then counts.
    """
    if started is None:
        return bool(psutil.pid_exists(pid))
    try:
        return bool(abs(psutil.Process(pid).create_time() - started) < START_TOLERANCE_SECONDS)
    except psutil.NoSuchProcess:
        return False


def end_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends, even by SIGKILL (Linux; elsewhere nothing happens)."""
    if sys.platform != "linux":
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGTERM)
    if os.getppid() == 1:  # the parent ended before prctl was called
        os.kill(os.getpid(), signal.SIGTERM)


def end_with_input() -> None:
    """End this process when its standard input, a pipe that the run holds open, is closed, however the run ends.

    For processes with others between them and the run, such as launchers: those may be gone before the run is.
    """

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="input", daemon=True).start()


def return_large_blocks() -> None:
    """Give freed blocks of 4 MiB and more back to the system at once (glibc; elsewhere nothing happens).

    glibc raises this limit by itself up to 32 MiB. The tensors of a training step on a CPU are often just below it, and
    the heap kept as much memory in pieces as all of them need at once.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        mmap_threshold = -3  # M_MMAP_THRESHOLD
        library.mallopt(mmap_threshold, 4 * 2**20)


def environment_without_keys(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment, by default this process's, without the variables whose names contain ``API_KEY``.

    A model server or a training process does not need the judge's key, and could leak it in a log or a crash report.
    """
    whole = os.environ if environment is None else environment
    return {name: value for name, value in whole.items() if "API_KEY" not in name.upper()}
