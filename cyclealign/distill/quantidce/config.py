"""Settings of QuantiDCE. Loads no heavy library."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from cyclealign.config import Formerly, Section
from cyclealign.distill.settings import JobConfig, PairPooling, Trainer, TrainerSettings

# Raise it when the job's results change: students and runs of earlier versions are then made anew.
VERSION = 1

DEMO = "demo"  # built-in value of the sources and of encoder.model
Pretraining = Literal["mlr", "pairs", "none"]
Tuning = Literal["kd", "plain", "none"]


class DataSettings(Section):
    """Dialogues with responses of graded coherence, and a few human scores."""

    levels: Annotated[str, Formerly(values={"made": DEMO})] = Field(
        DEMO,
        title="Levels",
        description="JSON lines in the format of DailyDialog++ (context, positive_responses, "
        "adversarial_negative_responses, random_negative_responses); a .parquet file or a Hugging Face data set "
        "(`name:split`) with these columns; or `demo`: generated dialogues.",
    )
    scored: Annotated[str, Formerly(values={"made": DEMO})] = Field(
        DEMO,
        title="Scored responses",
        description="JSON lines with context, response and score (1 to 5), or a file or data set with these columns.",
    )
    tests: Annotated[dict[str, str], Formerly(values={"made": DEMO})] = Field(
        {"same topics": DEMO, "other topics": DEMO},
        title="Test sets",
        description="Name and source of each, in the format of the scored responses. Never trained on.",
    )
    contexts: int = Field(240, ge=2, title="Maximum contexts", description="Of the levels; one in ten is held out.")
    responses: int = Field(
        5, ge=1, title="Responses per level", description="Contexts with fewer responses in some level are left out."
    )


class EncoderSettings(Section):
    """The encoder under the scoring head."""

    model: Annotated[str, Formerly(values={"tiny": DEMO})] = Field(
        DEMO, title="Model", description="A local folder, a Hugging Face id, or `demo`: new weights."
    )
    layers: int | None = Field(None, ge=1, title="Layers", description="Keep the first layers only. Empty: all.")
    sizes: dict[str, Any] = Field({}, title="Sizes", description="Of `demo`: keys of BERT's configuration.")
    pooling: PairPooling = Field(
        "first",
        title="Pooling",
        description="`first`: the encoder's pooler, or its first state if it has no pooler. `mean`: mean of all "
        "states. `match`: product of the context's and the response's mean state; for sentence encoders, whose first "
        "state was never trained.",
    )
    max_tokens: int = Field(128, ge=8, title="Max tokens per pair", description="Longer contexts lose their beginning.")
    head: tuple[int, int] = Field((384, 192), title="Head", description="Sizes of the two hidden layers.")


class PretrainingSettings(Section):
    """The first stage, on levels."""

    separation: float = Field(
        0.3, gt=0, title="Separation", description="Minimum distance between neighbouring levels."
    )
    compactness: float = Field(0.1, ge=0, title="Compactness", description="Maximum mean distance within a level.")
    epochs: int = Field(5, ge=1, title="Epochs")
    contexts_per_step: int = Field(3, ge=1, title="Contexts per step")
    learning_rate: float = Field(2e-5, gt=0, title="Learning rate")
    warm_up: float = Field(0.1, ge=0, lt=1, title="Warm-up", description="Share of the steps.")


class TuningSettings(Section):
    """The second stage, on human scores."""

    epochs: int = Field(20, ge=1, title="Epochs")
    batch: int = Field(10, ge=1, title="Batch")
    learning_rate: float = Field(5e-6, gt=0, title="Learning rate")
    warm_up: float = Field(0.2, ge=0, lt=1, title="Warm-up", description="Share of the steps.")
    kd_weight: float = Field(
        5.0, ge=0, title="Distillation weight", description="For distillation from the first stage."
    )


class ArmSettings(Section):
    """One combination of the two stages."""

    name: str = Field(title="Name")
    pretraining: Pretraining = Field(
        title="First stage",
        description="`mlr`: multi-level ranking; `pairs`: logistic loss on pairs of levels; `none`.",
    )
    tuning: Tuning = Field(title="Second stage", description="`kd`: with distillation; `plain`: without; `none`.")


ARMS = (
    ArmSettings(name="MLR + KD", pretraining="mlr", tuning="kd"),
    ArmSettings(name="MLR + scores", pretraining="mlr", tuning="plain"),
    ArmSettings(name="MLR only", pretraining="mlr", tuning="none"),
    ArmSettings(name="scores only", pretraining="none", tuning="plain"),
    ArmSettings(name="pairs + scores", pretraining="pairs", tuning="plain"),
)


class Config(JobConfig):
    """Train a metric of coherence and compare training methods."""

    data: Annotated[DataSettings, Field(title="Data")] = DataSettings()
    encoder: Annotated[EncoderSettings, Field(title="Encoder")] = EncoderSettings()
    pretraining: Annotated[PretrainingSettings, Field(title="First stage")] = PretrainingSettings()
    tuning: Annotated[TuningSettings, Field(title="Second stage")] = TuningSettings()
    trainer: Trainer = TrainerSettings()
    runs: int = Field(
        3, ge=1, title="Runs", description="Metrics per arm; metrics of one run start from the same weights."
    )
    arms: tuple[ArmSettings, ...] = Field(
        ARMS, min_length=1, title="Arms", description="The metric of the first arm is kept."
    )

    @model_validator(mode="after")
    def _arms_have_names_of_their_own(self) -> Self:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError(f"arms: each needs a name of its own: {', '.join(names)}.")
        sources = [self.data.levels, self.data.scored, *self.data.tests.values()]
        if 0 < sources.count(DEMO) < len(sources):
            raise ValueError("data: either all parts are `demo`, or each names a file or a data set.")
        return self
