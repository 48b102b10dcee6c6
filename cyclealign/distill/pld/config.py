"""Settings of PLD. Loads no heavy library."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from cyclealign.config import ADDED_LATER, Formerly, NotWith, Section
from cyclealign.distill.settings import JobConfig, PassSettings

# Raise it when the job's results change: students and runs of earlier versions are then made anew.
VERSION = 1

LossName = Literal["ce", "kd", "dist", "dkd", "listmle", "pld"]
# The keywords that each loss takes; `learning_rate` and `weight_decay` may be tried with every one.
KEYWORDS: dict[str, set[str]] = {
    "ce": set(),
    "kd": {"alpha", "tau"},
    "dist": {"ce", "inter", "intra", "tau"},
    "dkd": {"ce", "alpha", "beta", "tau"},
    "listmle": set(),
    "pld": {"tau"},
}
OF_THE_OPTIMIZER = {"learning_rate", "weight_decay"}


class DataSettings(Section):
    """Items to classify, and their split."""

    source: Annotated[
        Literal["demo", "images", "texts", "hub_images", "hub_texts"], Formerly(values={"drawn": "demo"})
    ] = Field(
        "demo",
        title="Source",
        description="`demo`: generated drawings of strokes. `images`: folders or .zip files with a folder of images "
        "per class, or .npz files with x (uint8; items x height x width, or x 3) and y. `texts`: .jsonl files of "
        '{"text", "label"}. `hub_...`: a Hugging Face data set.',
    )
    paths: tuple[str, ...] = Field((), title="Paths", description="Of `images` and `texts`; `name:split` of `hub_...`.")
    input_column: str = Field("image", title="Input column", description="Of a Hugging Face data set.")
    label_column: str = Field("label", title="Label column", description="Of a Hugging Face data set.")
    image_size: Annotated[int, Formerly("side")] = Field(
        28, ge=8, title="Image size", description="In pixels; images are scaled to squares."
    )
    colour: bool = Field(False, title="Colour", description="Three channels instead of one.")
    inverted: bool = Field(
        False, title="Inverted", description="For dark ink on white paper; transparent pixels count as white."
    )
    classes: int = Field(40, ge=2, title="Classes", description="Of `demo`.")
    train_per_class: int | None = Field(
        None, ge=1, title="Training items per class", description="Empty: all remaining items (`demo`: 20)."
    )
    valid_per_class: int = Field(4, ge=1, title="Validation items per class", description="For tuning only.")
    test_per_class: int = Field(8, ge=1, title="Test items per class")
    views: int = Field(
        1,
        ge=1,
        title="Views",
        description="Random rotations, shifts and scalings of each training image. The teacher labels each view once.",
    )

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if (self.source == "demo") == bool(self.paths):
            raise ValueError("data.paths is required for every source except 'demo', which takes none.")
        if self.views > 1 and self.texts:
            raise ValueError("data.views must be 1 for texts: views exist for images only.")
        return self

    @property
    def texts(self) -> bool:
        return self.source in ("texts", "hub_texts")


class ModelSettings(Section):
    """A classifier and its training."""

    model: str | None = Field(
        None,
        title="Model",
        description="A local folder or a Hugging Face id (timm/... where timm is installed). Empty: new weights.",
    )
    revision: str | None = Field(None, title="Revision", description="Commit of the Hugging Face model.")
    family: str = Field(
        "resnet", title="Family", description="For new weights: a model type of transformers (resnet, vit, bert ...)."
    )
    sizes: dict[str, Any] = Field({}, title="Sizes", description="Keys of the family's configuration.")
    tokenizer: str | None = Field(None, title="Tokenizer", description="For new weights and texts: a folder or id.")
    epochs: int = Field(10, ge=0, title="Epochs", description="0: use the model as it is.")
    learning_rate: float = Field(2e-3, gt=0, title="Learning rate", description="Falls to zero along a cosine.")
    weight_decay: float = Field(0.05, ge=0, title="Weight decay", description="Of AdamW.")
    batch: int = Field(128, ge=2, title="Batch", description="Items per step.")


class TrainerSettings(PassSettings):
    """The training loop of the students, and of a teacher that is trained."""

    validate_every: Annotated[int, ADDED_LATER] = Field(
        0,
        ge=0,
        title="Validate every",
        description="Steps between validations; the weights with the best accuracy on the validation items are kept. "
        "0: never.",
    )
    patience: Annotated[int, ADDED_LATER, NotWith("trainer.validate_every", 0)] = Field(
        5, ge=1, title="Patience", description="Validations without a better accuracy before training stops."
    )


class ArmSettings(Section):
    """One loss for the student, and the settings to tune on the validation items."""

    loss: LossName = Field(title="Loss")
    tries: tuple[dict[str, float], ...] = Field(
        ({},), min_length=1, title="Settings to try", description="Keywords of the loss, learning_rate, weight_decay."
    )

    @model_validator(mode="after")
    def _keywords_are_known(self) -> Self:
        known = KEYWORDS[self.loss] | OF_THE_OPTIMIZER
        unknown = sorted({name for words in self.tries for name in words} - known)
        if unknown:
            raise ValueError(f"arms.tries of '{self.loss}': unknown {', '.join(unknown)}; known: {sorted(known)}.")
        return self


class Config(JobConfig):
    """Distil a classifier with PLD and compare it with other losses, each tuned over as many settings."""

    data: Annotated[DataSettings, Field(title="Data")] = DataSettings()
    teacher: Annotated[ModelSettings, Field(title="Teacher")] = ModelSettings()
    student: Annotated[ModelSettings, Field(title="Student")] = ModelSettings()
    trainer: Annotated[TrainerSettings, ADDED_LATER, Field(title="Trainer")] = TrainerSettings()
    runs: int = Field(
        3, ge=1, title="Runs", description="Students per arm; students of one run start from the same weights."
    )
    tuning_runs: int = Field(
        1,
        ge=1,
        title="Tuning runs",
        description="Students for each setting tried; they start from other weights than the runs.",
    )
    arms: tuple[ArmSettings, ...] = Field(
        (ArmSettings(loss="ce"), ArmSettings(loss="kd"), ArmSettings(loss="pld")), min_length=1, title="Arms"
    )

    @model_validator(mode="after")
    def _budgets_are_equal(self) -> Self:
        counts = {arm.loss: len(arm.tries) for arm in self.arms}
        if len(counts) < len(self.arms):
            raise ValueError("arms: each loss may have one arm only.")
        if len(set(counts.values())) > 1:
            raise ValueError(f"arms: each must try as many settings as the others, to be compared fairly: {counts}.")
        return self

    @model_validator(mode="after")
    def _student_learns(self) -> Self:
        if self.student.epochs == 0:
            raise ValueError("student.epochs must be at least 1.")
        if self.teacher.epochs == 0 and self.teacher.model is None:
            raise ValueError("teacher.epochs = 0 needs a teacher that is trained: set teacher.model.")
        return self
