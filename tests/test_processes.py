"""Liveness of processes, and their memory."""

import os
import subprocess
import sys

import psutil
import pytest

from cyclealign import processes
from cyclealign.loop.lease import may_be_alive, owner_name
from cyclealign.processes import is_running, machine_name, start_time


def test_a_process_is_named_by_its_id_and_its_start():
    """Prevents a dead run from holding its lease for ever because another process was given its id."""
    assert is_running(os.getpid())
    assert is_running(os.getpid(), start_time())
    assert is_running(os.getpid(), round(start_time(), 2))
    assert not is_running(os.getpid(), start_time() - 60)


def test_a_process_that_has_ended_is_not_running():
    """Prevents a run from waiting for a process that is gone."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not is_running(ended.pid)
    assert not is_running(ended.pid, start_time())


# Blocks of 20 MiB, below the limit to which a freed block of 30 MiB has raised glibc's; a small one pins the end of the
# heap.
FREED_BLOCKS = """
import ctypes, psutil
from cyclealign.processes import return_large_blocks
{call}
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.free(libc.malloc(30 << 20))
blocks = [libc.malloc(20 << 20) for _ in range(10)]
for block in blocks:
    libc.memset(block, 1, 20 << 20)
pin = libc.malloc(100_000)
libc.memset(pin, 1, 100_000)
before = psutil.Process().memory_info().rss
for block in blocks:
    libc.free(block)
print((before - psutil.Process().memory_info().rss) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap is that of Linux")
def test_freed_blocks_go_back_to_the_system():
    """Prevents a training step that holds twice the memory of its tensors, in pieces of the heap."""
    returned = [
        int(subprocess.run([sys.executable, "-c", FREED_BLOCKS.format(call=call)], check=True, stdout=-1).stdout)
        for call in ("", "return_large_blocks()")
    ]
    assert returned[0] < 100  # the case in which the heap keeps them
    assert returned[1] >= 195


def test_a_step_of_the_clock_does_not_make_a_running_process_dead(monkeypatch):
    """Prevents a second run from taking over one that is alive, once the machine's clock was set."""
    started = start_time()
    created = psutil.Process().create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: created + 3600)
    assert is_running(os.getpid(), started)
    monkeypatch.undo()
    assert is_running(os.getpid(), created)  # as earlier versions wrote it


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces of Linux")
def test_a_process_in_another_container_of_the_same_host_name_may_be_alive(monkeypatch, tmp_path):
    """Prevents a takeover of a living run whose process id does not exist in this container."""
    mine = owner_name("run")
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("the same kernel")
    (tmp_path / "self/ns").mkdir(parents=True)
    namespace = tmp_path / "self/ns/pid"
    names = []
    monkeypatch.setattr(processes, "PROC", tmp_path)
    for number in (1, 2):
        namespace.unlink(missing_ok=True)
        namespace.symlink_to(f"pid:[{number}]")
        machine_name.cache_clear()
        names.append(machine_name())
    dead = f"{names[0]}/999999999/1.00/run"
    assert names[0] != names[1]
    assert may_be_alive(dead)
    monkeypatch.undo()
    machine_name.cache_clear()
    assert may_be_alive(mine)
    assert not may_be_alive(f"{machine_name()}/999999999/1.00/run")
