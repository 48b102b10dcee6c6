"""Checkpoints of the jobs' own training loop: one file at a time, which appears whole or not at all."""

import os
import pickle
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from cyclealign.files import flush

PATTERN = "step-*.pt"


class Stateful(Protocol):
    """What a checkpoint can hold, such as a module, an optimizer or a queue of features."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes in training."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take the state of an earlier `state_dict`."""
        ...


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often a training saves its state.

    Attributes:
        folder: of this training alone; None: nothing is saved, and an interrupted training begins anew.
        every: steps between two checkpoints; 0: none.
    """

    folder: Path | None = None
    every: int = 0

    def due(self, step: int) -> bool:
        """Return whether the state after ``step`` steps is to be saved."""
        return self.folder is not None and self.every > 0 and step % self.every == 0

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Write the state after ``step`` steps, and delete those before: no more than two are ever on disk."""
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        final = self.folder / f"step-{step}.pt"
        unfinished = final.with_suffix(".part")
        torch.save({"step": step, **state}, unfinished)
        flush(unfinished)
        os.replace(unfinished, final)
        for other in self.folder.iterdir():
            if other != final:
                other.unlink()

    def load(self) -> dict[str, Any] | None:
        """Return the newest state; None if there is none. One that a crash of the machine has cut is passed over."""
        for file in self._newest_first():
            try:
                state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError):
                file.unlink()
            else:
                return state
        return None

    def _newest_first(self) -> Iterator[Path]:
        if self.folder is not None and self.folder.is_dir():
            yield from sorted(self.folder.glob(PATTERN), key=lambda file: int(file.stem[5:]), reverse=True)

    def remove(self) -> None:
        """Delete all of them, when the trained weights are in their place."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


NO_CHECKPOINTS = Checkpoints()


def random_states() -> dict[str, Any]:
    """Return the states of torch's generators, which draw dropout."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Continue the draws of `random_states`; those of a GPU only where as many are there."""
    torch.set_rng_state(states["cpu"])
    if states["cuda"] and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])
