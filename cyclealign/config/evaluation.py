"""Settings of the measurements at the end of a round, and of the decision that follows."""

from typing import Annotated, Literal

from pydantic import Field

from cyclealign.config.former_names import Formerly
from cyclealign.config.identity import ADDED_LATER
from cyclealign.config.mid_round import CHANGEABLE_MID_ROUND, FIXED_MID_ROUND
from cyclealign.config.no_effect import NotWith, OnlyWith
from cyclealign.config.section import Section


class EvaluationSettings(Section):
    """Measurements at the end of a round, on prompts and lists that are never trained on."""

    answers: int = Field(
        1, ge=1, le=16, title="Answers per held-out prompt", description="More give a win rate with a smaller interval."
    )
    fresh_parent: bool = Field(
        False,
        title="Fresh answers of the parent",
        description="The parent answers the held-out prompts anew in each round. Otherwise its answers of the round "
        "that trained it are used again: they won then, so they are better than others of its own.",
    )
    against_base: bool = Field(
        False,
        title="Compare with the base model",
        description="Duels with the base model's answers, too, from the second round on: a win rate with its own "
        "evidence, which decides nothing. Twice the calls for duels.",
    )
    rotate_held_out: Annotated[bool, FIXED_MID_ROUND] = Field(
        False,
        title="Rotate held-out prompts",
        description="Each round draws its held-out prompts anew from those of the set, so that not the same few decide "
        "about all rounds. Without effect if the set has no more than prompts.held_out.",
    )
    judge: Annotated[str | None, ADDED_LATER] = Field(
        None,
        title="Judge of the duels",
        description="Name of another model than `judge.model`, so that the one whose rankings train the policy does "
        "not examine it, too. It sees no dynamic demonstrations. Its other settings are those of the judge. Empty: "
        "the judge itself.",
    )
    judge_base_url: Annotated[str | None, ADDED_LATER, NotWith("evaluation.judge", None)] = Field(
        None, title="Base URL of the judge of the duels", description="Empty: that of the judge."
    )
    judge_api_key_variable: Annotated[str | None, ADDED_LATER, NotWith("evaluation.judge", None)] = Field(
        None,
        title="API key variable of the judge of the duels",
        description="The *name* of the environment variable that holds its API key. Empty: that of the judge; a key is "
        "never sent to another host than its own.",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
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
    """When a round is accepted. Any other round is rolled back as a whole, or undecided."""

    approval: Annotated[Literal["auto", "ask"], CHANGEABLE_MID_ROUND] = Field(
        "auto",
        title="Approval",
        description="`ask`: after the evaluation the run ends, and the round waits until a person accepts or rejects "
        "it, by *Resume* on the page of the run or by `cyclealign approve`. The rule only suggests a verdict then.",
    )

    rule: Literal["mean", "e_value"] = Field(
        "mean",
        title="Rule",
        description="`mean`: by the mean win rate, however uncertain; accepts every second round that has learnt "
        "nothing. `e_value`: by evidence; accepts at most a share *alpha* of these, and needs 60 or more held-out "
        "prompts to notice a gain (docs/evidence.md has its power).",
    )
    min_win_rate: Annotated[float, Formerly("least_win_rate"), OnlyWith("acceptance.rule", "mean")] = Field(
        0.5,
        ge=0,
        le=1,
        title="Minimum win rate",
        description="Against the parent, on held-out prompts; a tie counts half.",
    )
    alpha: Annotated[float, OnlyWith("acceptance.rule", "e_value")] = Field(
        0.05,
        ge=0.0001,
        le=0.5,
        title="Alpha",
        description="Maximum probability, over *alpha_rounds* rounds, that a policy which is not better than its "
        "parent is accepted. An e-value decides: 1 / alpha in a single round.",
    )
    alpha_rounds: Annotated[int, OnlyWith("acceptance.rule", "e_value")] = Field(
        1,
        ge=1,
        le=1000,
        title="Rounds that share alpha",
        description="1: *alpha* holds for each round by itself, and of 20 rounds that learn nothing one in eight "
        "experiments accepts some. 20: *alpha* holds for 20 rounds together; each then needs more evidence, up to 20 / "
        "*alpha*, less after accepted ones.",
    )
    undecided: Annotated[
        Literal["roll_back", "train_on"],
        OnlyWith("acceptance.rule", "e_value"),
    ] = Field(
        "roll_back",
        title="Undecided rounds",
        description="With too little evidence for either side. `train_on`: the next round starts from its weights, but "
        "its demonstrations are dropped; only a policy that is shown to be worse than its parent is rolled back.",
    )
    max_prompts: Annotated[int | None, OnlyWith("acceptance.rule", "e_value")] = Field(
        None,
        ge=1,
        title="Maximum held-out prompts",
        description="While the test is undecided and can still succeed, draw further held-out prompts, as many at a "
        "time as prompts.held_out, up to this number in all. Empty: no further ones.",
    )
    min_readable: float = Field(
        0.8,
        ge=0,
        le=1,
        title="Minimum share of readable duels",
        description="If the judge's verdict is readable on a smaller share of the comparisons with the parent, the "
        "run stops, and the round stays open.",
    )
    max_length_growth: float | None = Field(
        None,
        ge=0,
        title="Maximum growth of answers",
        description="Roll back a round whose held-out answers are longer than its parent's by more than this share: "
        "0.1 is 10 %. It bounds each round, not the growth over all of them. Empty: no limit.",
    )
    max_kl: Annotated[float | None, Formerly("most_kl")] = Field(
        None, gt=0, title="Maximum KL from the base model", description="In nats per token. Empty: no limit."
    )
