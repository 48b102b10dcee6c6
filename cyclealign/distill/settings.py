"""What the settings of every distillation job share. Loads no heavy library."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from cyclealign.config import Formerly, Section
from cyclealign.records import content_id

# How an encoder that read two texts together gives one vector; `cyclealign.distill.models.pooling` says what each is.
PairPooling = Literal["first", "mean", "match"]


def _each_once(values: tuple[int, ...]) -> tuple[int, ...]:
    """Two arms or measures of one name would meet at the very end of a run."""
    if len(set(values)) < len(values):
        raise PydanticCustomError("repeated", "Input should name nothing twice")
    return values


# Numbers that name arms or measures: at least 1, and none of them twice.
Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], AfterValidator(_each_once)]


def version_key(job: str, version: int) -> str:
    """The part of a key that changes when the job's ``VERSION`` is raised."""
    return content_id("version", job, version)


class JobConfig(Section):
    """Base of a job's ``Config``: its seed, and whether to do finished work again."""

    # Libraries take less than 2^32, and some jobs count on from it, a seed a run.
    seed: int = Field(0, ge=0, lt=2**31, title="Seed", description="For all random draws.")
    force: Annotated[bool, Formerly("again")] = Field(
        False,
        title="Force",
        description="Train again, even if a run with the same settings, data and version is finished. Labels are kept. "
        "Otherwise a run reuses models that earlier runs trained with the same relevant settings.",
    )
