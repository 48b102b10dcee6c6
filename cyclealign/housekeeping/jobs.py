"""Labels and checkpoints of a distillation job that may be deleted."""

from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import datetime
from pathlib import Path
from typing import Any

from cyclealign.distill.in_use import job_folder
from cyclealign.files import left_by_killed
from cyclealign.housekeeping.expired import SECONDS_PER_DAY, Expired, Kind, age_in_days, overlaps, size_of
from cyclealign.housekeeping.rules import HousekeepingRules

STEPS = "-steps"  # the end of the name of a stage's checkpoints
LABELS = "labels that no run has used since"
CHECKPOINTS = "checkpoints of a training that no open run resumes"
LEFTOVER = "left behind by a run that was killed"


def expired_of_job(
    job: str, runs: Sequence[Mapping[str, Any]], rules: HousekeepingRules, needed: Set[Path], now: float
) -> Iterator[Expired]:
    """Yield labels and checkpoints of a job without unfinished runs that are old enough.

    Args:
        runs: those of the job, as the store returns them.
        needed: from `needed_paths`.
        now: seconds since the epoch.
    """
    if open_run(job, runs, rules, now) is not None:
        return
    for path in _folders(job_folder(job) / "labels"):
        leftover = left_by_killed(path)
        if not path.name.startswith(".") or leftover:
            days = rules.checkpoints_days if leftover else rules.labels_days
            yield from _if_old("labels", job, path, LEFTOVER if leftover else LABELS, days, needed, now)
    for path in _folders(job_folder(job) / "stages"):
        leftover = left_by_killed(path)
        if leftover or (path.name.endswith(STEPS) and not path.name.startswith(".")):
            reason = LEFTOVER if leftover else CHECKPOINTS
            yield from _if_old("checkpoints", job, path, reason, rules.checkpoints_days, needed, now)


def open_run(job: str, runs: Sequence[Mapping[str, Any]], rules: HousekeepingRules, now: float) -> int | None:
    """Return the id of an unfinished run that may be resumed and so needs the job's files, or None."""
    unfinished = [run for run in runs if run["finished_at"] is None]
    if not unfinished:
        return None
    newest = max(unfinished, key=lambda run: str(run["started_at"]))
    if rules.unfinished_days is None:
        return int(newest["id"])
    started = datetime.fromisoformat(str(newest["started_at"])).timestamp()
    parts = [path for name in ("labels", "stages") for path in _folders(job_folder(job) / name)]
    idle = min([(now - started) / SECONDS_PER_DAY, *(age_in_days(path, now) for path in parts)])
    return int(newest["id"]) if idle < rules.unfinished_days else None


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def _if_old(
    kind: Kind, job: str, path: Path, reason: str, days: int, needed: Set[Path], now: float
) -> Iterator[Expired]:
    age = age_in_days(path, now)
    if age >= days and not overlaps(path, needed):
        yield Expired(kind, job, path, size_of(path), age, reason)
