"""Liveness of processes, and child processes that do not outlive the run that started them."""

import ctypes
import hashlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import psutil

# Start times are kept rounded to hundredths of a second, and read back with an error of one tick of the kernel's clock.
START_TOLERANCE_SECONDS = 0.1
# Start times of earlier versions, and those of other systems than Linux, are seconds since 1970.
EARLIEST_DATE_SECONDS = 1e9
PROC = Path("/proc")


def start_time() -> float:
    """Return the start time of this process: with process id and `machine_name`, it names the process.

    On Linux in seconds since the machine started, which stay the same when the clock is set; else since 1970.
    """
    return _started(os.getpid())


def is_running(pid: int, started: float | None = None) -> bool:
    """Return whether a process of this machine still exists.

    Args:
        pid: its process id, which the system gives to another process some time after it has ended.
        started: its `start_time`; None if unknown: any process with this id then counts.
    """
    if started is None:
        return bool(psutil.pid_exists(pid))
    try:
        found: float = psutil.Process(pid).create_time() if started > EARLIEST_DATE_SECONDS else _started(pid)
    except (psutil.NoSuchProcess, OSError):
        return False
    return abs(found - started) < START_TOLERANCE_SECONDS


@cache
def machine_name() -> str:
    """Return a name of the place in which process ids are unique: ``host`` or, on Linux, ``host~digits``.

    The digits hash the start of the kernel and the namespace of process ids: containers may have one host name.
    """
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink(PROC / "self/ns/pid")
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()}~{hashlib.sha256(f'{boot} {namespace}'.encode()).hexdigest()[:8]}"


def _started(pid: int) -> float:
    """Return the start time of a process.

    Raises:
        OSError, psutil.NoSuchProcess: there is no such process.
    """
    if sys.platform != "linux":
        return float(psutil.Process(pid).create_time())
    fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5): the name before it may hold blanks


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
