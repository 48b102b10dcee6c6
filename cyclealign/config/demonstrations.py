"""Settings of the demonstrations in the judge's prompt."""

from typing import Annotated, Literal

from pydantic import Field

from cyclealign.config.former_names import Formerly
from cyclealign.config.mid_round import CHANGEABLE_MID_ROUND
from cyclealign.config.no_effect import NotWith
from cyclealign.config.section import Section


class DemonstrationSettings(Section):
    """Demonstrations in the judge's prompt."""

    static: int = Field(2, ge=0, title="Static demonstrations", description="Hand-written, from prompts/.")
    dynamic: Annotated[int, NotWith("demonstrations.max_kept", 0)] = Field(
        4, ge=0, title="Dynamic demonstrations", description="Agreed rankings from earlier rounds."
    )
    selection: Annotated[
        Literal["newest", "most_agreed", "most_similar"], Formerly("choose"), NotWith("demonstrations.dynamic", 0)
    ] = Field(
        "newest",
        title="Selection of dynamic demonstrations",
        description="`most_similar`: to the question that the judge is asked.",
    )
    max_chance: Annotated[
        float, Formerly("chance_at_most"), NotWith("demonstrations.max_kept", 0), CHANGEABLE_MID_ROUND
    ] = Field(
        0.05,
        gt=0,
        le=1,
        title="Maximum chance",
        description="Promote an agreement only if two random orders reach it with at most this probability.",
    )
    max_kept: Annotated[int, Formerly("keep"), CHANGEABLE_MID_ROUND] = Field(
        32, ge=0, title="Maximum kept", description="Older demonstrations are retired."
    )
    min_gain: Annotated[
        float,
        Formerly("least_gain"),
        NotWith("demonstrations.dynamic", 0),
        NotWith("evaluation.labelled_lists", 0),
        CHANGEABLE_MID_ROUND,
    ] = Field(
        0.0,
        ge=-1,
        le=1,
        title="Minimum gain",
        description="Show the dynamic set in the next round only if it raises the judge's accuracy over the static "
        "ones alone by at least this much; -1: always.",
    )
