"""Settings of human review."""

from typing import Annotated

from pydantic import Field

from cyclealign.config.mid_round import CHANGEABLE_MID_ROUND
from cyclealign.config.no_effect import NotWith
from cyclealign.config.section import Section


class ReviewSettings(Section):
    """Human review of lists on which policy and judge disagree and the judge is unsteady."""

    lists: int = Field(
        0,
        ge=0,
        le=50,
        title="Lists per round",
        description="The most uncertain lists, at most this many; `cyclealign review` collects human rankings. "
        "0: none.",
    )
    wait_minutes: Annotated[float, CHANGEABLE_MID_ROUND, NotWith("review.lists", 0)] = Field(
        0.0,
        ge=0,
        le=10_080,
        title="Minutes to wait",
        description="Wait this long before training for human rankings, entered in the form of the paused run "
        "(*Resume* on its page) or with `cyclealign review`. The round then continues with the rankings received. "
        "0: do not wait.",
    )
