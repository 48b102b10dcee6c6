"""Settings of LEAF. Defaults are the paper's where it states them clearly. Imports no heavy library."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cyclealign.config import Formerly, Section
from cyclealign.distill.settings import Counts, JobConfig

# Increase it when the job's results change: students and runs of earlier versions are then computed anew.
VERSION = 1


class DataSettings(Section):
    """Training texts and a retrieval task for evaluation."""

    queries: tuple[str, ...] = Field(
        (),
        title="Training queries",
        description="Files (.txt, .jsonl, .csv, .parquet) or Hugging Face data sets: `name:split#column`.",
    )
    documents: tuple[str, ...] = Field((), title="Training documents", description="As for queries.")
    max_texts: Annotated[int | None, Formerly("at_most")] = Field(
        None, ge=1, title="Maximum texts per source", description="Keep the first texts only. Empty: all."
    )
    task: Annotated[str, Formerly("examination")] = Field(
        "demo",
        title="Retrieval task",
        description="`demo`, a folder in BEIR's format (corpus.jsonl, queries.jsonl, qrels/), or a Hugging Face id.",
    )
    split: str = Field("test", title="Split of the relevance judgements")


class TeacherSettings(Section):
    """The embedding model; the student learns its vector space. Only its vectors are used."""

    model: str = Field(
        "demo", title="Model", description="A folder, a Hugging Face id, or `demo`. Empty: use a file of vectors."
    )
    revision: str | None = Field(None, title="Revision", description="Commit of the Hugging Face model.")
    vectors: str | None = Field(
        None,
        title="Vector file",
        description="Instead of a model: .jsonl or .parquet with `text`, `vector` and, for queries, `kind` = `query`.",
    )
    query_prompt: str | None = Field(
        None,
        title="Query instruction",
        description="Prefix of queries, for the student as well. Empty: the model's own.",
    )
    max_tokens: int | None = Field(None, ge=4, title="Max tokens per text", description="Empty: the model's own.")
    axes: Literal["own", "principal"] = Field(
        "own",
        title="Axes",
        description="`principal`: rotated to principal components, so the first dimensions carry the most variance. "
        "For a teacher without MRL.",
    )
    batch: int = Field(64, ge=1, title="Texts per batch")
    texts_per_part: int = Field(
        10_000, ge=1, title="Texts per part", description="A stopped run loses at most one part."
    )

    @model_validator(mode="after")
    def _one_teacher(self) -> Self:
        if bool(self.model) == bool(self.vectors):
            raise ValueError("teacher: set either teacher.model, or teacher.model = '' and teacher.vectors.")
        return self


class StudentSettings(Section):
    """Backbone -> pooling -> Dense to the teacher's size -> L2 normalisation if the teacher's vectors are unit."""

    backbone: str = Field("demo", title="Backbone", description="An encoder: a folder, a Hugging Face id, or `demo`.")
    revision: str | None = Field(None, title="Revision", description="Commit of the Hugging Face model.")
    layers: int | None = Field(None, ge=1, title="Layers", description="Keep the first layers only. Empty: all.")
    pooling: Literal["mean", "cls", "max"] = Field("mean", title="Pooling")
    dense_bias: bool = Field(True, title="Dense layer bias")
    dense_start: Literal["random", "least_squares"] = Field(
        "random",
        title="Dense layer initialization",
        description="`least_squares`: the best linear map from the untrained backbone, for short runs.",
    )
    dropout: bool = Field(
        True, title="Dropout", description="As configured in the backbone. Off: train without dropout."
    )
    train_word_vectors: bool = Field(
        True, title="Train word vectors", description="Off: keep them frozen, which makes steps cheaper."
    )
    start_texts: int = Field(4_000, ge=1, title="Texts for the least-squares initialization")
    max_tokens: int = Field(512, ge=4, title="Max tokens per text")


class TrainingSettings(Section):
    """AdamW with a learning rate that decays linearly in each cycle."""

    loss: Literal["l2", "squared_l2"] = Field(
        "l2", title="Loss", description="Distance between student and teacher vectors, or its square."
    )
    batch: int = Field(
        32, ge=1, title="Texts per step", description="The paper reports better results with small batches."
    )
    epochs: int = Field(10, ge=1, title="Epochs per cycle")
    cycles: int = Field(3, ge=1, title="Cycles", description="Each cycle restarts at the first learning rate.")
    learning_rate: float = Field(1e-4, gt=0, title="First learning rate")
    last_learning_rate: float = Field(1e-5, ge=0, title="Last learning rate")
    weight_decay: float = Field(0.01, ge=0, title="Weight decay")


class EvaluationSettings(Section):
    """Evaluation of the teacher, the student, and student queries on teacher documents."""

    dims: Counts = Field(
        (256, 128), title="Truncated dimensions", description="Evaluate the first dimensions only (MRL)."
    )
    precisions: tuple[Literal["float32", "int8", "binary"], ...] = Field(
        ("float32", "int8", "binary"), title="Precisions", description="Of both queries and documents."
    )
    rotated_control: bool = Field(
        True,
        title="Rotated control",
        description="Also distil from randomly rotated teacher vectors: same full-size quality, without MRL.",
    )

    @model_validator(mode="after")
    def _includes_float32(self) -> Self:
        if "float32" not in self.precisions:
            raise ValueError(
                "evaluation.precisions must include 'float32', which the other precisions are compared with."
            )
        return self


class Config(JobConfig):
    """Distil a text-embedding model into a smaller one that shares the teacher's space."""

    data: Annotated[DataSettings, Field(title="Data")] = DataSettings()
    teacher: Annotated[TeacherSettings, Field(title="Teacher")] = TeacherSettings()
    student: Annotated[StudentSettings, Field(title="Student")] = StudentSettings()
    training: Annotated[TrainingSettings, Field(title="Training")] = TrainingSettings()
    evaluation: Annotated[EvaluationSettings, Field(title="Evaluation")] = EvaluationSettings()

    @model_validator(mode="after")
    def _demo_models_need_demo_data(self) -> Self:
        models = {"teacher.model": self.teacher.model, "student.backbone": self.student.backbone}
        if self.data.task != "demo" and "demo" in models.values():
            named = ", ".join(key for key, value in models.items() if value == "demo")
            raise ValueError(f"{named}: 'demo' models need the demo data. Name a model, or set data.task = 'demo'.")
        return self
