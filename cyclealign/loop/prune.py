"""Find and delete the folders of weights that no accepted round needs."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclealign.files import adapters_folder, checkpoints_folder, left_by_killed
from cyclealign.policy import weights
from cyclealign.store import Store

_UNFINISHED = re.compile(r"\.round-\d+-")
_WEIGHTS = re.compile(r"round-\d+(-.*)?")


@dataclass(frozen=True)
class Prunable:
    """A folder that may be deleted, its size in bytes and the reason; ``adapter_id`` None: no row names it."""

    path: Path
    size: int
    reason: str
    adapter_id: str | None = None


def prunable(store: Store, experiment: str) -> list[Prunable]:
    """Return the folders of an experiment that no accepted or open round of any experiment needs."""
    needed = [Path(adapter.path).resolve() for adapter in store.upkeep.adapters()]
    found = [
        Prunable(Path(adapter.path), size_of(Path(adapter.path)), "its round was not accepted", adapter.id)
        for adapter in store.upkeep.adapters(experiment, needed=False)
        if weights.files(Path(adapter.path))
    ]
    named = {path.resolve() for path in store.upkeep.adapter_paths()}
    folder = adapters_folder() / experiment
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if reason := leftover_reason(path, named):
            found.append(Prunable(path, size_of(path), reason))
    checkpoints = checkpoints_folder(experiment)
    if checkpoints.is_dir() and store.rounds.unfinished(experiment) is None:
        found.append(Prunable(checkpoints, size_of(checkpoints), "checkpoints of a training that no round resumes"))
    return [each for each in found if not any(kept.is_relative_to(each.path.resolve()) for kept in needed)]


def leftover_reason(path: Path, named: set[Path]) -> str:
    """Return why no row needs the folder; an empty text if it is not a leftover, or a running process may need it."""
    if _UNFINISHED.match(path.name):
        return "left behind by a training that was killed" if left_by_killed(path) else ""
    if path.is_dir() and _WEIGHTS.fullmatch(path.name) and path.resolve() not in named:
        return "no round has these weights"
    return ""


def size_of(folder: Path) -> int:
    """Return the size of all files in a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def prune(store: Store, folders: Sequence[Prunable]) -> None:
    """Delete the folders; the rows of their adapters stay, and say so."""
    for each in folders:
        shutil.rmtree(each.path)
        if each.adapter_id is not None:
            store.upkeep.mark_pruned([each.adapter_id])


def delete_weights(experiment: str, folders: Sequence[Path]) -> None:
    """Delete folders of weights and the experiment's checkpoints; other folders, and missing ones, are left alone."""
    for folder in folders:
        if weights.files(folder):
            shutil.rmtree(folder)
    shutil.rmtree(checkpoints_folder(experiment), ignore_errors=True)
