"""The settings of an experiment: one section per table of its TOML file."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from cyclealign.config.agreement import AgreementSettings
from cyclealign.config.database import DatabaseSettings
from cyclealign.config.demonstrations import DemonstrationSettings
from cyclealign.config.evaluation import AcceptanceSettings, EvaluationSettings
from cyclealign.config.judge import BudgetSettings, HealthSettings, JudgeSettings
from cyclealign.config.mid_round import (
    CHANGEABLE_MID_ROUND,
    OF_THE_RUN,
    UNTIL_AGREED,
    UNTIL_EVALUATED,
    UNTIL_GENERATED,
    UNTIL_JUDGED,
    UNTIL_TRAINED,
)
from cyclealign.config.no_effect import OnlyWith
from cyclealign.config.policy import EngineSettings, PolicySettings
from cyclealign.config.prompts import PromptSettings
from cyclealign.config.review import ReviewSettings
from cyclealign.config.section import Section
from cyclealign.config.stop import StopSettings
from cyclealign.config.training import TrainingSettings


class ExperimentConfig(Section):
    """One experiment: a series of rounds that starts from one base model."""

    # In the order in which a person fills in the form: first the sections that every experiment sets.

    experiment: Annotated[str, OF_THE_RUN] = Field(
        "demo", title="Experiment", description="Its name in the history.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
    )
    rounds: Annotated[int, OF_THE_RUN] = Field(1, ge=1, le=100, title="Rounds", description="Number of rounds to run.")
    prompts: Annotated[PromptSettings, Field(title="Prompts")] = PromptSettings()
    policy: Annotated[PolicySettings, Field(title="Policy (white-box)"), UNTIL_GENERATED] = PolicySettings()
    judge: Annotated[JudgeSettings, Field(title="Judge (black-box)"), UNTIL_JUDGED] = JudgeSettings()
    budget: Annotated[BudgetSettings, Field(title="Budget"), CHANGEABLE_MID_ROUND] = BudgetSettings()
    agreement: Annotated[AgreementSettings, Field(title="Agreement"), UNTIL_AGREED] = AgreementSettings()
    training: Annotated[TrainingSettings, Field(title="Training"), UNTIL_TRAINED] = TrainingSettings()
    acceptance: Annotated[AcceptanceSettings, Field(title="Acceptance"), CHANGEABLE_MID_ROUND] = AcceptanceSettings()
    review: Annotated[ReviewSettings, Field(title="Human review"), UNTIL_TRAINED] = ReviewSettings()
    demonstrations: Annotated[DemonstrationSettings, Field(title="Demonstrations"), UNTIL_JUDGED] = (
        DemonstrationSettings()
    )
    evaluation: Annotated[EvaluationSettings, Field(title="Evaluation"), UNTIL_EVALUATED] = EvaluationSettings()
    health: Annotated[HealthSettings, Field(title="Judge health"), UNTIL_JUDGED] = HealthSettings()
    stop: Annotated[StopSettings, Field(title="Stop"), OF_THE_RUN] = StopSettings()
    database: Annotated[DatabaseSettings, Field(title="Database"), OF_THE_RUN] = DatabaseSettings()
    engine: Annotated[
        EngineSettings, Field(title="Engine (vLLM)"), CHANGEABLE_MID_ROUND, OnlyWith("policy.kind", "vllm")
    ] = EngineSettings()
    templates: Annotated[str, UNTIL_JUDGED] = Field(
        "prompts", title="Template folder", description="Of the judge's templates and the hand-written demonstrations."
    )
    seed: int = Field(0, ge=0, title="Seed", description="Of the draw of prompts, the answers and the training.")
    until: Annotated[int | None, OF_THE_RUN] = Field(
        None, ge=1, title="Until round", description="Stop once the experiment has this many rounds. Empty: no limit."
    )

    @property
    def examiner(self) -> JudgeSettings:
        """The judge of the duels: `evaluation.judge` with the other settings of the judge, or the judge itself.

        Prices, further headers and parameters are those of the judge's model alone, as is the batch API.
        """
        chosen = self.evaluation
        if chosen.judge is None:
            return self.judge
        changes: dict[str, object] = {
            "kind": "openai",
            "model": chosen.judge,
            "delivery": "direct",
            "extra_headers": {},
            "extra_body": {},
            **{f"usd_per_million_{tokens}_tokens": None for tokens in ("prompt", "cached", "completion")},
        }
        if chosen.judge_base_url is not None:
            changes["base_url"] = chosen.judge_base_url
        if chosen.judge_api_key_variable is not None:
            changes |= {"api_key_variable": chosen.judge_api_key_variable, "api_key_block": None}
        return self.judge.model_copy(update=changes)

    @model_validator(mode="after")
    def _the_examiner_is_another_judge(self) -> Self:
        chosen = self.evaluation
        if chosen.judge is None:
            return self
        if chosen.judge == self.judge.model:
            raise ValueError(
                f"evaluation.judge is judge.model, '{chosen.judge}': replies are known by the model's name. Name "
                "another model, or remove evaluation.judge."
            )
        hosts = [urlsplit(judge.base_url or "")[:2] for judge in (self.judge, self.examiner)]
        if hosts[0] != hosts[1] and chosen.judge_api_key_variable is None:
            raise ValueError(
                f"The key in {self.judge.api_key_variable} is that of another host than evaluation.judge_base_url. "
                "Name the variable with the key of that host in evaluation.judge_api_key_variable."
            )
        return self

    @model_validator(mode="after")
    def _doubt_needs_two_verdicts(self) -> Self:
        if self.review.lists and self.judge.method == "listwise" and self.judge.num_orders == 1:
            raise ValueError(
                "review.lists needs judge.num_orders of at least 2: a judge that ranks each list once always looks "
                "consistent, so no list would be sent to reviewers."
            )
        return self
