"""Child processes that do not outlive the run that started them."""

import ctypes
import os
import signal
import sys


def end_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends, even by SIGKILL (Linux; elsewhere nothing happens)."""
    if sys.platform != "linux":
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGTERM)
    if os.getppid() == 1:  # the parent was gone before the kernel was asked
        os.kill(os.getpid(), signal.SIGTERM)
