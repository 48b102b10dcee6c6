"""Settings of PLD. Loads no heavy library."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from cyclealign.config import Section
from cyclealign.distill.settings import JobConfig

Loss = Literal["ce", "pld"]


class DataSettings(Section):
    """What is classified."""

    source: Literal["drawn"] = Field("drawn", title="Source", description="`drawn`: strokes drawn on the spot.")
    classes: int = Field(40, ge=2, title="Classes", description="Of the drawn world.")
    train_per_class: int = Field(20, ge=1, title="Training items a class")
    valid_per_class: int = Field(8, ge=1, title="Validation items a class", description="For choosing settings only.")
    test_per_class: int = Field(12, ge=1, title="Test items a class")


class ModelSettings(Section):
    """A classifier that starts from fresh weights."""

    family: str = Field("resnet", title="Family", description="A model type of transformers: resnet, vit ...")
    sizes: dict[str, Any] = Field({}, title="Sizes", description="Keys of that family's configuration.")
    epochs: int = Field(10, ge=0, title="Epochs")
    learning_rate: float = Field(2e-3, gt=0, title="Learning rate", description="Falls to zero along a cosine.")
    weight_decay: float = Field(0.05, ge=0, title="Weight decay", description="Of AdamW.")
    batch: int = Field(128, ge=2, title="Batch", description="Items a step.")


class ArmSettings(Section):
    """One way to train the student, with the settings that are tried on the validation items."""

    loss: Loss = Field(title="Loss")
    tries: tuple[dict[str, float], ...] = Field(
        ({},), min_length=1, title="Settings to try", description="Keywords of the loss, and `learning_rate`."
    )


class Config(JobConfig):
    """Distil a teacher's order of the classes into a student."""

    data: Annotated[DataSettings, Field(title="Data")] = DataSettings()
    teacher: Annotated[ModelSettings, Field(title="Teacher")] = ModelSettings()
    student: Annotated[ModelSettings, Field(title="Student")] = ModelSettings()
    runs: int = Field(3, ge=1, title="Runs", description="Students of each arm; those of one run share their start.")
    arms: tuple[ArmSettings, ...] = Field(
        (ArmSettings(loss="ce"), ArmSettings(loss="pld", tries=({"tau": 1.0},))), min_length=1, title="Arms"
    )

    @model_validator(mode="after")
    def _budgets_are_equal(self) -> Self:
        counts = {arm.loss: len(arm.tries) for arm in self.arms}
        if len(counts) < len(self.arms):
            raise ValueError("arms: each loss may have one arm only.")
        if len(set(counts.values())) > 1:
            raise ValueError(
                f"arms: every arm must try as many settings as the others, for a fair comparison: {counts}."
            )
        return self
