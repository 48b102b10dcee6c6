"""What the settings of every distillation job share. Loads no heavy library."""

from typing import Literal

from pydantic import Field

from cyclealign.config import Section

# How an encoder that read two texts together gives one vector; `cyclealign.distill.pooling` says what each is.
PairPooling = Literal["first", "mean", "match"]


class JobConfig(Section):
    """Base of a job's ``Config``: its seed, and whether to do finished work again."""

    seed: int = Field(0, ge=0, title="Seed", description="Of everything that is drawn at random.")
    again: bool = Field(
        False,
        title="Again",
        description="Train again, though a run with the same settings and code is finished. Labels are kept.",
    )
