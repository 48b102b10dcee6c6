"""Child processes that do not outlive the run that started them."""

import ctypes
import os
import signal
import sys
import threading


def end_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends, even by SIGKILL (Linux; elsewhere nothing happens)."""
    if sys.platform != "linux":
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGTERM)
    if os.getppid() == 1:  # the parent was gone before the kernel was asked
        os.kill(os.getpid(), signal.SIGTERM)


def end_with_input() -> None:
    """End this process when its standard input, a pipe that the run holds open, is closed: by whatever ends the run.

    For processes with others between them and the run, such as launchers, of which each would be an orphan first.
    """

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="input", daemon=True).start()


def environment_without_keys() -> dict[str, str]:
    """This process's environment without the variables whose names say that they hold an API key.

    A model server or a training process needs no judge's key, and could leave it in a log or a crash report.
    """
    return {name: value for name, value in os.environ.items() if "API_KEY" not in name.upper()}
