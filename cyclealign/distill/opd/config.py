"""Settings of on-policy distillation. Loads no heavy library."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from cyclealign.config import Section
from cyclealign.config.no_effect import OnlyWith, OnlyWithHubId
from cyclealign.distill.settings import JobConfig

# Raise it when the job's results change: students and runs of earlier versions are then made anew.
VERSION = 1

DEMO = "demo"  # built-in value of the prompts and of both models
ArmName = Literal["opd", "sft"]


class DataSettings(Section):
    """The prompts that the student answers in training."""

    prompts: str = Field(
        DEMO,
        title="Prompts",
        description="JSON lines with `prompt` (a text, or a list of turns with role and content) and, if there is one, "
        "`answer`; a .csv or .parquet file or a Hugging Face data set (`name:split`) with these columns; or `demo`.",
    )
    max_prompts: int | None = Field(None, ge=1, title="Maximum prompts", description="The first ones. Empty: all.")
    form: Literal["chat", "text"] = Field(
        "chat",
        title="Form",
        description="`chat`: in the chat template of the student's tokenizer. `text`: as they are, for models without "
        "one.",
    )
    answers: Literal["teacher", "given"] = Field(
        "teacher",
        title="Given answers",
        description="For the arm `sft`, and the share of steps that is not on-policy. `teacher`: sampled from the "
        "teacher, once. `given`: column `answer`.",
    )


class TeacherSettings(Section):
    """The model whose next-token probabilities the student learns."""

    model: str = Field(DEMO, title="Model", description="A local folder, a Hugging Face id, or `demo`.")
    revision: Annotated[str | None, OnlyWithHubId("teacher.model")] = Field(
        None, title="Revision", description="A commit of the Hugging Face model."
    )


class StudentSettings(Section):
    """The model to train; its tokenizer must be the teacher's."""

    model: str = Field(DEMO, title="Model", description="A local folder, a Hugging Face id, or `demo`.")
    revision: Annotated[str | None, OnlyWithHubId("student.model")] = Field(
        None, title="Revision", description="A commit of the Hugging Face model."
    )


class SamplingSettings(Section):
    """How answers are sampled in training: the student's, and the teacher's if they are the given ones."""

    temperature: float = Field(1.0, gt=0, le=5, title="Temperature")
    max_new_tokens: int = Field(128, ge=1, title="Max new tokens", description="Per answer.")


class TrainingSettings(Section):
    """AdamW on the divergence between student and teacher, token by token."""

    method: Literal["full", "lora"] = Field(
        "lora", title="Method", description="`lora`: an adapter on the student. `full`: all of its weights."
    )
    steps: int = Field(500, ge=1, title="Steps")
    prompts_per_step: int = Field(16, ge=1, title="Prompts per step", description="Each with one answer.")
    on_policy: float = Field(
        1.0,
        ge=0,
        le=1,
        title="On-policy share",
        description="Share of the steps on the student's own answers (lambda); the others are on the given answers.",
    )
    beta: float = Field(
        1.0,
        ge=0,
        le=1,
        title="Beta",
        description="Of the generalised Jensen-Shannon divergence. 1: reverse KL, which keeps the student to what the "
        "teacher would say. 0: forward KL, which has it cover all that the teacher would say. Between: a mixture.",
    )
    loss_temperature: float = Field(
        1.0, gt=0, title="Temperature of the loss", description="Divides the logits of both models in the divergence."
    )
    learning_rate: float = Field(1e-4, gt=0, title="Learning rate", description="For `lora`; 1e-5 or less for `full`.")
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = Field("linear", title="Learning rate schedule")
    warmup_steps: int = Field(0, ge=0, title="Warm-up steps")
    weight_decay: float = Field(0.0, ge=0, title="Weight decay")
    max_grad_norm: float = Field(1.0, gt=0, title="Maximum gradient norm")
    tokens_at_once: int = Field(
        8192,
        ge=1,
        title="Tokens per pass",
        description="Of prompts and answers, with padding. A longer step is passed in parts, with the same gradient. "
        "Lower it to save memory.",
    )
    gradient_checkpointing: bool = Field(
        False, title="Gradient checkpointing", description="Saves memory and costs a third more time."
    )
    bf16: bool | None = Field(
        None, title="bfloat16", description="Compute in mixed precision. Empty: on a GPU that has it."
    )
    save_every: int = Field(
        50, ge=0, title="Steps between checkpoints", description="0: none; a stopped training then begins again."
    )
    lora_rank: Annotated[int, OnlyWith("training.method", "lora")] = Field(16, ge=1, title="LoRA rank")
    lora_alpha: Annotated[float, OnlyWith("training.method", "lora")] = Field(32, gt=0, title="LoRA alpha")
    lora_targets: Annotated[tuple[str, ...], OnlyWith("training.method", "lora")] = Field(
        (), title="LoRA targets", description="Layers by name. Empty: all linear ones."
    )


class EvaluationSettings(Section):
    """Prompts on which teacher and students are compared. Never trained on."""

    prompts: str = Field(
        DEMO,
        title="Prompts",
        description="As those of the training. With `answer`, the share of exact matches is measured.",
    )
    max_prompts: int | None = Field(None, ge=1, title="Maximum prompts", description="The first ones. Empty: all.")
    temperature: float = Field(
        0.0, ge=0, le=5, title="Temperature", description="Of the answers that are scored. 0: the likeliest tokens."
    )


def _names_nothing_twice(arms: tuple[ArmName, ...]) -> tuple[ArmName, ...]:
    if len(set(arms)) < len(arms):
        raise PydanticCustomError("repeated", "Input should name nothing twice")
    return arms


class Config(JobConfig):
    """Distil a language model on the student's own answers."""

    data: Annotated[DataSettings, Field(title="Data")] = DataSettings()
    teacher: Annotated[TeacherSettings, Field(title="Teacher")] = TeacherSettings()
    student: Annotated[StudentSettings, Field(title="Student")] = StudentSettings()
    sampling: Annotated[SamplingSettings, Field(title="Sampling")] = SamplingSettings()
    training: Annotated[TrainingSettings, Field(title="Training")] = TrainingSettings()
    evaluation: Annotated[EvaluationSettings, Field(title="Evaluation")] = EvaluationSettings()
    arms: Annotated[tuple[ArmName, ...], AfterValidator(_names_nothing_twice)] = Field(
        ("opd", "sft"),
        min_length=1,
        title="Arms",
        description="`opd`: on-policy distillation. `sft`: fine-tuning on the given answers with the same steps, for "
        "comparison. The first arm's student is kept.",
    )

    @model_validator(mode="after")
    def _demo_models_need_demo_prompts(self) -> Self:
        prompts, models = (self.data.prompts, self.evaluation.prompts), (self.teacher.model, self.student.model)
        if (prompts[0] == DEMO) != (prompts[1] == DEMO):
            raise ValueError("data.prompts and evaluation.prompts: either both are `demo`, or neither is.")
        if (models[0] == DEMO) != (models[1] == DEMO):
            raise ValueError("teacher.model and student.model: either both are `demo`, or neither is.")
        if models[0] == DEMO != prompts[0]:
            raise ValueError("teacher.model, student.model: `demo` models need the prompts `demo`.")
        if prompts[0] == DEMO and self.data.answers == "given":
            raise ValueError("data.answers: the prompts `demo` have no answers. Set it to 'teacher'.")
        return self

    @property
    def needs_given_answers(self) -> bool:
        """Return whether an arm trains on given answers."""
        return "sft" in self.arms or ("opd" in self.arms and self.training.on_policy < 1)
