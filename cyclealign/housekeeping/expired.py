"""A folder or file that may be deleted, and the age of one."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["adapter", "checkpoints", "labels", "log"]
SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True)
class Expired:
    """A path that no round, student or run needs, and that is as old as the rules require.

    Args:
        owner: the experiment or job; empty for a log.
        size: in bytes.
        days: since it was last written.
        adapter_id: of the adapter's row, if there is one.
    """

    kind: Kind
    owner: str
    path: Path
    size: int
    days: float
    reason: str
    adapter_id: str | None = None


def age_in_days(path: Path, now: float) -> float:
    """Return the days since a file, or the newest file of a folder, was written.

    Args:
        now: seconds since the epoch.
    """
    times = [part.lstat().st_mtime for part in (path, *path.rglob("*"))]
    return max(0.0, now - max(times)) / SECONDS_PER_DAY


def size_of(path: Path) -> int:
    """Return the size of a file, or of all files in a folder, in bytes."""
    return sum(part.lstat().st_size for part in (path, *path.rglob("*")) if part.is_file() and not part.is_symlink())


def overlaps(path: Path, needed: Iterable[Path]) -> bool:
    """Return whether the path holds, or lies in, one of the needed ones."""
    own = path.resolve()
    return any(kept.is_relative_to(own) or own.is_relative_to(kept) for kept in needed)
