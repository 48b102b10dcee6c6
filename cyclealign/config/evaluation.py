"""Settings of the measurements at the end of a round, and of the decision that follows."""

from typing import Annotated, Literal

from pydantic import Field

from cyclealign.config.former_names import Formerly
from cyclealign.config.section import Section


class EvaluationSettings(Section):
    """Measurements at the end of a round, on prompts and lists that are never trained on."""

    answers: int = Field(
        1, ge=1, le=16, title="Answers per held-out prompt", description="More give a win rate with a smaller interval."
    )
    labelled_lists: int = Field(
        24,
        ge=0,
        title="Labelled lists",
        description="Used to measure the judge's accuracy; never trained on.",
    )
    gold: Literal["none", "demo"] = Field(
        "none", title="Gold quality", description="`demo`: report the demo world's hidden quality."
    )


class AcceptanceSettings(Section):
    """When a round is accepted. Any other round is rolled back as a whole."""

    min_win_rate: Annotated[float, Formerly("least_win_rate")] = Field(
        0.5,
        ge=0,
        le=1,
        title="Minimum win rate",
        description="Against the parent, on held-out prompts; a tie counts half.",
    )
    max_kl: Annotated[float | None, Formerly("most_kl")] = Field(
        None, gt=0, title="Maximum KL from the base model", description="In nats per token. Empty: no limit."
    )
