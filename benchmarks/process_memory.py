"""Peak memory of a process and of the processes that it starts, by what they do."""

import threading
from collections.abc import Mapping
from concurrent.futures import Future

import psutil

SAMPLES_A_SECOND = 5
MIB = 1 << 20
TRAINING = "cyclealign.training"


def watch_memory(pid: int) -> "Future[dict[str, int]]":
    """Sample the resident sets of a process and its descendants until it ends.

    Returns:
        The peaks in MiB: ``run`` of the process itself, ``training`` of the largest process of training, ``all`` of all
        processes together at one moment. Shared pages count in each process.
    """
    future: Future[dict[str, int]] = Future()
    threading.Thread(target=lambda: future.set_result(_sampled(psutil.Process(pid))), daemon=True).start()
    return future


def _sampled(process: psutil.Process) -> dict[str, int]:
    peaks = {"run": 0, "training": 0, "all": 0}
    waiting = threading.Event()
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        for name, value in _resident(process).items():
            peaks[name] = max(peaks[name], value)
        waiting.wait(1 / SAMPLES_A_SECOND)
    return peaks


def _resident(process: psutil.Process) -> Mapping[str, int]:
    """Return the memory of this moment, in MiB; processes that end meanwhile count as nothing."""
    values = {"run": 0, "training": 0, "all": 0}
    try:
        tree = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return values
    for member in tree:
        try:
            resident, words = member.memory_info().rss // MIB, " ".join(member.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        values["all"] += resident
        if member == process:
            values["run"] = resident
        elif TRAINING in words:
            values["training"] = max(values["training"], resident)
    return values
