"""Settings of CPRD. Loads no heavy library."""

from typing import Annotated, Literal

from pydantic import Field

from cyclealign.config import ADDED_LATER, Formerly, Section
from cyclealign.distill.settings import JobConfig, PassSettings

# Raise it when the job's results change: students and runs of earlier versions are then made anew.
VERSION = 1

DEMO = "demo"  # built-in value of data.source and student.model
Loss = Literal["none", "kl all", "kl hard", "rank all", "untruncated", "cprd"]


class DataSettings(Section):
    """Images with captions."""

    source: Annotated[str, Formerly(values={"drawn": DEMO})] = Field(
        DEMO,
        title="Source",
        description="`demo`: generated drawings of shapes; a folder with captions.jsonl (per line: file, text and, "
        "optionally, keywords); a .parquet file; or a Hugging Face data set as `name[:split]`.",
    )
    image_column: str = Field("image", title="Image column", description="Of a data set.")
    text_column: str = Field(
        "text",
        title="Caption column",
        description="Of a data set: a text, or a list of texts. Keywords are read from the column `keywords`, if it "
        "exists.",
    )
    file_column: str = Field(
        "",
        title="File name column",
        description="Of a data set: rows with the same name are captions of one image. Empty: rows with identical "
        "images are.",
    )
    train: int = Field(600, ge=2, title="Maximum training images", description="Each with all its captions.")
    test: int = Field(200, ge=2, title="Maximum test images", description="Each with all its captions.")
    image_size: Annotated[int, Formerly("side")] = Field(
        32,
        ge=8,
        title="Image size",
        description="In pixels; images are scaled to squares. A pretrained student accepts only its own size.",
    )
    max_words: Annotated[int, Formerly("most_words")] = Field(
        16,
        ge=2,
        title="Max caption tokens",
        description="In tokens of the student, which must have at least this many positions.",
    )


class StudentSettings(Section):
    """The dual encoder."""

    model: Annotated[str, Formerly(values={"tiny": DEMO})] = Field(
        DEMO,
        title="Model",
        description="`demo`: a small ViT and BERT with new weights; or a local folder or Hugging Face id of a CLIP "
        "or vision-text dual encoder.",
    )
    layers: int = Field(2, ge=1, title="Layers", description="Of `demo`.")
    size: int = Field(96, ge=8, multiple_of=8, title="Hidden size", description="Of `demo`.")
    epochs: int = Field(20, ge=1, title="Epochs")
    batch: int = Field(64, ge=4, title="Batch", description="Pairs per step.")
    learning_rate: float = Field(1e-3, gt=0, title="Learning rate", description="Falls to zero along a cosine.")


class TeacherSettings(Section):
    """The cross-encoder or its scores."""

    model: str = Field(
        "simulated",
        title="Model",
        description="`simulated`: the true overlap of image and text, with noise, through a steep sigmoid; a local "
        "folder or Hugging Face id of a ViLT for image-text retrieval, which scores every training image with every "
        "training caption (1,000 x 1,000 need a million passes: use a GPU); or a .npz file of its scores: `scores` "
        "(match probabilities from 0 to 1, images x texts), `images` (file names, as in the data; without a file name "
        "column, the first 16 digits of the SHA-256 of the image's bytes; for a drawing of `demo`, its caption) and "
        "`texts` (captions, as in the data), each name once and in any order. Extra entries are ignored.",
    )
    steepness: float = Field(12.0, gt=0, title="Steepness", description="Of the simulated teacher.")
    noise: float = Field(0.08, ge=0, title="Noise", description="Of the simulated teacher, on the overlap.")


class DistillationSettings(Section):
    """Loss on the teacher's order."""

    num_hard_negatives: Annotated[int, Formerly("hard")] = Field(
        16, ge=2, title="Hard negatives", description="K: the student's nearest negatives."
    )
    threshold: float = Field(0.1, ge=0, le=1, title="Minimum match", description="Negatives below it are not valid.")
    weight: float = Field(0.3, ge=0, title="Weight", description="Lambda, the same for every arm.")
    temperature: float = Field(0.07, gt=0, title="Temperature", description="Of the similarities, in all losses.")
    queue: int = Field(256, ge=0, title="Queue", description="Pairs of earlier steps to use as additional negatives.")


class Config(JobConfig):
    """Distil a cross-encoder's order of hard negatives into a dual encoder."""

    data: Annotated[DataSettings, Field(title="Data")] = DataSettings()
    teacher: Annotated[TeacherSettings, Field(title="Teacher")] = TeacherSettings()
    student: Annotated[StudentSettings, Field(title="Student")] = StudentSettings()
    distillation: Annotated[DistillationSettings, Field(title="Distillation")] = DistillationSettings()
    trainer: Annotated[PassSettings, ADDED_LATER, Field(title="Trainer")] = PassSettings()
    runs: int = Field(
        2, ge=1, title="Runs", description="Students per arm; students of one run start from the same weights."
    )
    arms: tuple[Loss, ...] = Field(
        ("none", "kl all", "kl hard", "rank all", "untruncated", "cprd"),
        min_length=1,
        title="Arms",
        description="Terms added to the contrastive loss.",
    )
