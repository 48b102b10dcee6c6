"""Settings of a whole experiment."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cyclealign.config.judge import BudgetSettings, DemonstrationSettings, HealthSettings, JudgeSettings, ReviewSettings
from cyclealign.config.policy import EngineSettings, PolicySettings, PromptSettings, TrainingSettings
from cyclealign.config.section import Section


class EvaluationSettings(Section):
    """What is measured at the end of a round, on prompts and lists that nobody trains on."""

    answers: int = Field(1, ge=1, le=16, title="Answers per held-out prompt")
    labelled_lists: int = Field(
        24,
        ge=0,
        title="Labelled lists",
        description="For the judge's accuracy; never trained on.",
    )
    gold: Literal["none", "demo"] = Field(
        "none", title="Gold quality", description="`demo`: the demo world's hidden quality, for the report only."
    )


class AcceptanceSettings(Section):
    """When a round is accepted; otherwise it is rolled back whole."""

    least_win_rate: float = Field(0.5, ge=0, le=1, title="Least win rate against the parent")
    most_kl: float | None = Field(None, gt=0, title="Largest KL from the base", description="Nats per token.")


class ExperimentConfig(Section):
    """One experiment: a line of rounds that start from one base model."""

    experiment: str = Field(
        "demo", title="Experiment", description="Its name in the history.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
    )
    rounds: int = Field(1, ge=1, le=100, title="Rounds", description="How many to advance by.")
    until: int | None = Field(
        None, ge=1, title="Until round", description="Or: stop once the experiment has this many rounds."
    )
    seed: int = Field(0, ge=0, title="Seed")
    templates: str = Field("prompts", title="Folder of templates")
    prompts: Annotated[PromptSettings, Field(title="Prompts")] = PromptSettings()
    policy: Annotated[PolicySettings, Field(title="Policy (white-box)")] = PolicySettings()
    engine: Annotated[EngineSettings, Field(title="Engine (vLLM)")] = EngineSettings()
    judge: Annotated[JudgeSettings, Field(title="Judge (black-box)")] = JudgeSettings()
    health: Annotated[HealthSettings, Field(title="Health of the judge")] = HealthSettings()
    budget: Annotated[BudgetSettings, Field(title="Budget")] = BudgetSettings()
    demonstrations: Annotated[DemonstrationSettings, Field(title="Demonstrations")] = DemonstrationSettings()
    training: Annotated[TrainingSettings, Field(title="Training")] = TrainingSettings()
    evaluation: Annotated[EvaluationSettings, Field(title="Evaluation")] = EvaluationSettings()
    acceptance: Annotated[AcceptanceSettings, Field(title="Acceptance")] = AcceptanceSettings()
    review: Annotated[ReviewSettings, Field(title="Review by people")] = ReviewSettings()

    @model_validator(mode="after")
    def _doubt_needs_two_verdicts(self) -> Self:
        if self.review.lists and self.judge.way == "listwise" and self.judge.orders == 1:
            raise ValueError(
                "review.lists needs judge.orders of at least 2: a judge that is asked once a list always looks steady, "
                "so that no list would be put to people."
            )
        return self
