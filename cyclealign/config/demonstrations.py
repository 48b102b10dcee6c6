"""Settings of the demonstrations in the judge's prompt."""

from math import factorial
from typing import Annotated, Literal

from pydantic import Field

from cyclealign.config.former_names import Formerly
from cyclealign.config.mid_round import CHANGEABLE_MID_ROUND
from cyclealign.config.no_effect import NotWith, OnlyWith, beside, value_of
from cyclealign.config.section import Section


class EnoughAnswers(OnlyWith):
    """Marks a setting that needs lists of which one alone can agree beyond chance."""

    def words(self) -> str:
        """Return the condition as a sentence for the documentation."""
        return f"Only with a `{self.setting}` for which a full agreement is unlikely enough: 4 or more by default."

    def unmet(self, config: Section) -> str | None:
        """Return the reason why the marked setting has no effect; None if it has one."""
        answers = value_of(config, self.setting)
        rule = value_of(config, "demonstrations.promotion")
        name = "demonstrations.max_false" if rule == "fdr" else "demonstrations.max_chance"
        limit, p = value_of(config, name), 1 / factorial(int(str(answers)))
        if answers == 2 or p > float(str(limit)):
            return f"{beside(self.setting, answers)}: two random orders agree fully with a probability of {p:.2g}"
        return None


class DemonstrationSettings(Section):
    """Demonstrations in the judge's prompt."""

    static: int = Field(2, ge=0, title="Static demonstrations", description="Hand-written, from prompts/.")
    dynamic: Annotated[int, NotWith("demonstrations.max_kept", 0), EnoughAnswers("policy.answers")] = Field(
        4, ge=0, title="Dynamic demonstrations", description="Agreed rankings from earlier rounds."
    )
    selection: Annotated[
        Literal["newest", "most_agreed", "most_similar", "diverse"],
        Formerly("choose"),
        NotWith("demonstrations.dynamic", 0),
    ] = Field(
        "newest",
        title="Selection of dynamic demonstrations",
        description="`most_similar`: to the question that the judge is asked. `diverse`: the newest, without a second "
        "one of a kind, by the words of the questions.",
    )
    promotion: Annotated[Literal["fdr", "identical"], NotWith("demonstrations.max_kept", 0), CHANGEABLE_MID_ROUND] = (
        Field(
            "fdr",
            title="Promotion",
            description="`fdr`: if the agreement of the round is more than chance, the lists that pass a test under "
            "which at most a share *max_false* agree by chance. `identical`: each list by itself, by *max_chance*; "
            "promotes one in 24 unrelated lists of four.",
        )
    )
    max_false: Annotated[float, OnlyWith("demonstrations.promotion", "fdr"), CHANGEABLE_MID_ROUND] = Field(
        0.2,
        gt=0,
        lt=1,
        title="Maximum share promoted by chance",
        description="Expected share, among the promoted lists, of those that agree by chance alone.",
    )
    max_chance: Annotated[
        float,
        Formerly("chance_at_most"),
        NotWith("demonstrations.max_kept", 0),
        OnlyWith("demonstrations.promotion", "identical"),
        CHANGEABLE_MID_ROUND,
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
    gain_alpha: Annotated[
        float | None,
        NotWith("demonstrations.dynamic", 0),
        NotWith("evaluation.labelled_lists", 0),
        CHANGEABLE_MID_ROUND,
    ] = Field(
        None,
        gt=0,
        le=0.5,
        title="Alpha of the gain",
        description="Show the dynamic set only if a paired test on the labelled lists finds a gain, too: over all "
        "rounds, sets without any are shown with at most this probability. Needs 100 or more labelled lists to notice "
        "a gain of 0.05. Empty: the mean alone decides.",
    )
