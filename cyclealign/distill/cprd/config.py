"""Settings of CPRD. Loads no heavy library."""

from typing import Annotated, Literal

from pydantic import Field

from cyclealign.config import Section
from cyclealign.distill.settings import JobConfig

# Raise it when the job's results change: students and runs of earlier versions are then made anew.
VERSION = 1

Loss = Literal["none", "kl all", "kl hard", "rank all", "untruncated", "cprd"]


class DataSettings(Section):
    """Images with captions."""

    source: str = Field(
        "drawn",
        title="Source",
        description="`drawn`: shapes drawn on the spot; a folder with captions.jsonl: file, text, and keywords "
        "(optional) a line; a .parquet file; or a Hugging Face data set as `name[:split]`.",
    )
    image_column: str = Field("image", title="Column of images", description="Of a data set.")
    text_column: str = Field(
        "text",
        title="Column of captions",
        description="Of a data set: a text, or a list of texts. Keywords are read from a column `keywords`, if it has "
        "one.",
    )
    file_column: str = Field(
        "",
        title="Column of file names",
        description="Of a data set: rows of the same name are captions of one image. Empty: rows whose images have the "
        "same bytes are.",
    )
    train: int = Field(600, ge=2, title="Training images", description="At most, each with all its captions.")
    test: int = Field(200, ge=2, title="Test images", description="At most, each with all its captions.")
    side: int = Field(
        32,
        ge=8,
        title="Side of an image",
        description="In pixels; images are scaled to squares of it. A pretrained student takes only its own.",
    )
    most_words: int = Field(
        16, ge=2, title="Longest caption", description="In tokens of the student, which must have as many positions."
    )


class StudentSettings(Section):
    """The dual encoder."""

    model: str = Field(
        "tiny",
        title="Model",
        description="`tiny`: a small ViT and BERT with fresh weights; or a local folder or Hugging Face id of a CLIP "
        "or vision-text dual encoder.",
    )
    layers: int = Field(2, ge=1, title="Layers", description="Of `tiny`.")
    size: int = Field(96, ge=8, multiple_of=8, title="Hidden size", description="Of `tiny`.")
    epochs: int = Field(20, ge=1, title="Epochs")
    batch: int = Field(64, ge=4, title="Batch", description="Pairs a step.")
    learning_rate: float = Field(1e-3, gt=0, title="Learning rate", description="Falls to zero along a cosine.")


class TeacherSettings(Section):
    """The cross-encoder, or its scores."""

    model: str = Field(
        "simulated",
        title="Model",
        description="`simulated`: the true overlap of image and text, with noise, through a steep sigmoid; a local "
        "folder or Hugging Face id of a ViLT for image-text retrieval, which scores every training image with every "
        "training caption (1,000 x 1,000 are a million passes: for a GPU); or a .npz file of its scores: `scores` "
        "(match probabilities from 0 to 1, images x texts), `images` (file names, as in the data; of a data set "
        "without a column of them the first 16 digits of the SHA-256 of the image's bytes; of a drawn picture its "
        "caption) and `texts` (captions, as in the data), each name once and in any order; more than is needed may be "
        "in it.",
    )
    steepness: float = Field(12.0, gt=0, title="Steepness", description="Of the simulated teacher.")
    noise: float = Field(0.08, ge=0, title="Noise", description="Of the simulated teacher, on the overlap.")


class DistillationSettings(Section):
    """What is learnt from the teacher's order."""

    hard: int = Field(16, ge=2, title="Hard negatives", description="K: the ones nearest to the student.")
    threshold: float = Field(0.1, ge=0, le=1, title="Least match", description="Below it a negative is not valid.")
    weight: float = Field(0.3, ge=0, title="Weight", description="Lambda, of every arm alike.")
    temperature: float = Field(0.07, gt=0, title="Temperature", description="Of the similarities, in all losses.")
    queue: int = Field(256, ge=0, title="Queue", description="Pairs of earlier steps that are negatives too.")


class Config(JobConfig):
    """Distil a cross-encoder's order of hard negatives into a dual encoder."""

    data: Annotated[DataSettings, Field(title="Data")] = DataSettings()
    teacher: Annotated[TeacherSettings, Field(title="Teacher")] = TeacherSettings()
    student: Annotated[StudentSettings, Field(title="Student")] = StudentSettings()
    distillation: Annotated[DistillationSettings, Field(title="Distillation")] = DistillationSettings()
    runs: int = Field(2, ge=1, title="Runs", description="Students of each arm; those of one run share their start.")
    arms: tuple[Loss, ...] = Field(
        ("none", "kl all", "kl hard", "rank all", "untruncated", "cprd"),
        min_length=1,
        title="Arms",
        description="What is added to the contrastive loss.",
    )
