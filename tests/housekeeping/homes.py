"""Homes with rounds, students, labels and logs of given ages."""

import os
import time
from pathlib import Path

from cyclealign.files import adapters_folder, home
from cyclealign.policy.weights import ADAPTER_WEIGHTS
from cyclealign.records import Adapter, Round
from cyclealign.store import Store
from tests.support.store_values import adapter_for, opened

NOW = time.time()


def aged(path: Path, days: float) -> Path:
    """Set the time of a path and of everything in it, and return the path."""
    for part in (*path.rglob("*"), path):
        os.utime(part, (NOW - days * 86400 - 60,) * 2)
    return path


def file(path: Path, days: float, size: int = 1000) -> Path:
    """Write a file of that age."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return aged(path, days)


def folder(path: Path, days: float, name: str = "data.bin") -> Path:
    """Write a folder with one file of that age."""
    file(path / name, days)
    return aged(path, days)


def round_with_weights(store: Store, verdict: str, kept: bool, days: float, experiment: str = "trial") -> Path:
    """Add a round with weights of that age, closed unless the verdict is ``open``, and return their folder."""
    made: Round = opened(store, experiment=experiment)
    path = folder(adapters_folder() / experiment / f"round-{made.number}-abc", days, ADAPTER_WEIGHTS)
    named = adapter_for(made)
    store.adapters.add(made.id, Adapter(named.id, str(path), "hash", named.parent_id), "a-model")
    if verdict != "open":
        store.rounds.close(made.id, "me", verdict, "because", kept)
    return path


def distillation(store: Store, number: int, finished: bool, student: Path | None, config: dict | None = None) -> int:
    """Add a run of `pld` and return its id."""
    run = store.distillations.open("pld", config or {"seed": number}, (f"config {number}", "code"), seed=number)
    if student is not None:
        store.distillations.record_student(run.id, str(student), "hash")
    if finished:
        store.distillations.finish(run.id, [], str(file(home() / "reports" / f"pld-{run.id}.md", 1000)))
    return run.id
