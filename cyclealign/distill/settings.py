"""Settings that all distillation jobs share. Loads no heavy library."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from cyclealign.config import ADDED_LATER, Formerly, NotWith, Section, settings_identity
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
    """The training loop of the students, and of a teacher that is trained."""

    save_every: int = Field(
        200,
        ge=0,
        title="Save every",
        description="Steps between checkpoints. A training that was cut off goes on from the last one, deleted at the "
        "end. 0: no checkpoints; begin anew.",
    )
    schedule: Annotated[Literal["own", "linear", "cosine", "constant"], ADDED_LATER] = Field(
        "own", title="Schedule", description="Of the learning rate. `own`: the job's, as in its paper."
    )
    warm_up: Annotated[float, ADDED_LATER, NotWith("trainer.schedule", "own")] = Field(
        0.0, ge=0, lt=1, title="Warm-up", description="Share of the steps in which the learning rate rises."
    )
    max_norm: Annotated[float | None, ADDED_LATER] = Field(
        None, gt=0, title="Maximum gradient norm", description="Gradients are clipped to it. Empty: as the job does."
    )
    precision: Annotated[Literal["fp32", "bf16", "fp16"], ADDED_LATER] = Field(
        "fp32",
        title="Precision",
        description="Of the matrix products in training; weights stay fp32. `fp16` needs a CUDA GPU.",
    )
    compile: Annotated[bool, ADDED_LATER] = Field(
        False, title="Compile", description="By torch.compile: slow first steps, faster later ones on most GPUs."
    )


class PassSettings(TrainerSettings):
    """The training loop of the students, and of a teacher that is trained."""

    items_at_once: Annotated[int | None, ADDED_LATER] = Field(
        None,
        ge=1,
        title="Items per pass",
        description="Smaller passes need less memory and more time; the gradient stays that of the whole batch, for "
        "losses that compare its items too. Empty: the whole batch.",
    )


def bearing(trainer: TrainerSettings) -> list[dict[str, Any]]:
    """Return the settings of the loop that bear on results, as parts of a stage's key; none if all are as before."""
    identity = settings_identity(trainer, exclude={"save_every"})
    return [identity] if identity else []


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
