"""Log files that may be deleted."""

from collections.abc import Iterator, Set
from contextlib import suppress
from pathlib import Path

import psutil

from cyclealign.files import home
from cyclealign.housekeeping.expired import Expired, age_in_days, size_of
from cyclealign.housekeeping.rules import HousekeepingRules


def expired_logs(rules: HousekeepingRules, now: float) -> Iterator[Expired]:
    """Yield the logs of the home that are old enough, without the newest ones and those that a process has open."""
    folder = home() / "logs"
    logs = [path for path in folder.glob("*.log") if path.is_file() and not path.is_symlink()]
    logs.sort(key=lambda path: path.stat().st_mtime)
    old = [path for path in logs[: max(0, len(logs) - rules.keep_logs)] if age_in_days(path, now) >= rules.logs_days]
    opened = open_files() if old else set()
    for path in old:
        if path.resolve() not in opened:
            yield Expired("log", "", path, size_of(path), age_in_days(path, now), "a log that nothing writes to")


def open_files() -> Set[Path]:
    """Return the files that processes of this user and machine have open."""
    paths: set[Path] = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            paths |= {Path(file.path) for file in process.open_files()}
    return paths
