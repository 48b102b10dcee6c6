"""One pass of housekeeping: find what may be deleted, and delete it unless it is a dry run."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cyclealign.distill.in_use import alone
from cyclealign.errors import ExperimentBusy
from cyclealign.files import home
from cyclealign.housekeeping.experiments import expired_weights
from cyclealign.housekeeping.expired import Expired
from cyclealign.housekeeping.jobs import expired_of_job, open_run
from cyclealign.housekeeping.logs import expired_logs
from cyclealign.housekeeping.needed import needed_paths
from cyclealign.housekeeping.rules import HousekeepingRules
from cyclealign.loop.lease import hold_experiment, owner_name, require_free
from cyclealign.loop.ports import nonce
from cyclealign.store import Store, is_home_database

RUN_NAME = "housekeeping"


@dataclass
class Outcome:
    """The result of a pass.

    Attributes:
        expired: in a dry run what would be deleted, otherwise what was.
        notes: sentences on what was left alone.
    """

    dry_run: bool
    expired: list[Expired] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Return the size of everything in ``expired``, in bytes."""
        return sum(each.size for each in self.expired)


def clean(store: Store, rules: HousekeepingRules, now: float | None = None) -> Outcome:
    """Find what the rules let go, and delete it unless ``rules.dry_run``.

    Experiments and jobs that a run is using are left alone, and named in the notes. A path that cannot be deleted is
    named, too, and the rest goes on.

    Args:
        now: seconds since the epoch; default: the time of this machine.
    """
    at = time.time() if now is None else now
    outcome = Outcome(rules.dry_run)
    own = is_home_database()
    if not own:
        outcome.notes.append(
            f"{home()} has a database of its own besides the one in use: labels and weights without a row were left "
            "alone, since that database may have their rows."
        )
    for experiment in store.experiments.names():
        with held(store, experiment, outcome) as free:
            if free:
                found = list(expired_weights(store, experiment, rules, needed_paths(store), at, only_with_rows=not own))
                delete(store, found, outcome)
    for job, runs in runs_by_job(store).items() if own else ():
        with alone(job) as free:
            if not free:
                outcome.notes.append(f"{job}: a run is using its files, so they were left alone.")
            elif (run := open_run(job, runs, rules, at)) is not None:
                outcome.notes.append(f"{job}: run {run} is not finished and may be resumed, so its files were left.")
            else:
                delete(store, list(expired_of_job(job, runs, rules, needed_paths(store), at)), outcome)
    delete(store, list(expired_logs(rules, at)), outcome)
    return outcome


@contextmanager
def held(store: Store, experiment: str, outcome: Outcome) -> Iterator[bool]:
    """Hold the experiment, or in a dry run look whether it is free; yield False if a run is advancing it."""
    with ExitStack() as holding:
        try:
            if outcome.dry_run:
                require_free(store, experiment)
            else:
                holding.enter_context(hold_experiment(store, experiment, owner_name(nonce()), RUN_NAME))
        except ExperimentBusy:
            outcome.notes.append(f"{experiment}: a run is advancing it, so its files were left alone.")
            yield False
            return
        yield True


def runs_by_job(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Return the runs of each job, also of the jobs that have files but no run."""
    folder = home() / "distill"
    jobs: dict[str, list[dict[str, Any]]] = {
        path.name: [] for path in sorted(folder.iterdir() if folder.is_dir() else []) if path.is_dir()
    }
    for run in store.distillations.runs():
        jobs.setdefault(run["job"], []).append(run)
    return jobs


def delete(store: Store, found: Sequence[Expired], outcome: Outcome) -> None:
    """Delete the paths, unless it is a dry run; the rows of adapters stay, and record it."""
    for each in found:
        if not outcome.dry_run:
            try:
                remove(each.path)
            except OSError as error:
                outcome.notes.append(f"{each.path} could not be deleted: {error}")
                continue
            if each.adapter_id is not None:
                store.upkeep.mark_pruned([each.adapter_id])
        outcome.expired.append(each)


def remove(path: Path) -> None:
    """Delete a file or a folder; one that is gone already is no error."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
