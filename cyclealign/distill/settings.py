"""Settings that all distillation jobs share. Loads no heavy library."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from cyclealign.config import ADDED_LATER, Formerly, Section
from cyclealign.records import content_id

# How one vector is pooled from an encoding of two texts; see `cyclealign.distill.models.pooling`.
PairPooling = Literal["first", "mean", "match"]


def _no_duplicates(values: tuple[int, ...]) -> tuple[int, ...]:
    """Refuse duplicates: arms or measures of the same name would fail at the very end of a run."""
    if len(set(values)) < len(values):
        raise PydanticCustomError("repeated", "Input should name nothing twice")
    return values


# Numbers that name arms or measures: at least 1, without duplicates.
Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], AfterValidator(_no_duplicates)]


def version_key(job: str, version: int) -> str:
    """Return the part of a key that changes when the job's ``VERSION`` is raised."""
    return content_id("version", job, version)


class TrainerSettings(Section):
    """The training loop of the students."""

    save_every: int = Field(
        200,
        ge=0,
        title="Save every",
        description="Steps between checkpoints. A training that was cut off goes on from the last one, deleted at the "
        "end. 0: no checkpoints; begin anew.",
    )


# The section of a job's ``Config``: older than it are the settings of finished runs, which it must not change.
Trainer = Annotated[TrainerSettings, ADDED_LATER, Field(title="Trainer")]


class JobConfig(Section):
    """Base of a job's ``Config``: its seed, and whether to do finished work again."""

    # Libraries take seeds below 2^32, and some jobs add the number of a run.
    seed: int = Field(0, ge=0, lt=2**31, title="Seed", description="For all random draws.")
    force: Annotated[bool, Formerly("again")] = Field(
        False,
        title="Force",
        description="Train again, even if a run with the same settings, data and version is finished. Labels are kept. "
        "Otherwise a run reuses models that earlier runs trained with the same relevant settings.",
    )
