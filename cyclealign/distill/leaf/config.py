"""Settings of LEAF. Defaults are the paper's where its readers agree on them; loads no heavy library."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cyclealign.config import Section
from cyclealign.distill.settings import Counts, JobConfig

# Raise it when the job's results change: students and runs of earlier versions are then made anew.
VERSION = 1


class DataSettings(Section):
    """Texts to learn from, and a retrieval task to be examined on."""

    queries: tuple[str, ...] = Field(
        (),
        title="Training queries",
        description="Files (.txt, .jsonl, .csv, .parquet) or Hugging Face data sets: `name:split#column`.",
    )
    documents: tuple[str, ...] = Field((), title="Training documents", description="As for queries.")
    at_most: int | None = Field(None, ge=1, title="Texts of a source", description="The first so many; empty: all.")
    examination: str = Field(
        "demo",
        title="Retrieval task",
        description="`demo`, a folder as BEIR has it (corpus.jsonl, queries.jsonl, qrels/), or a Hugging Face id.",
    )
    split: str = Field("test", title="Split of the judgements")


class TeacherSettings(Section):
    """The embedding model whose space the student enters; only its vectors are used."""

    model: str = Field(
        "demo", title="Model", description="A folder, a Hugging Face id, or `demo`. Empty: vectors only."
    )
    revision: str | None = Field(None, title="Revision", description="A commit of the Hugging Face model.")
    vectors: str | None = Field(
        None,
        title="File of vectors",
        description="Instead of a model: .jsonl or .parquet with `text`, `vector` and, for queries, `kind` = `query`.",
    )
    query_prompt: str | None = Field(
        None, title="Query instruction", description="Put before queries, the student's too. Empty: the model's own."
    )
    max_tokens: int | None = Field(None, ge=4, title="Longest text", description="In tokens. Empty: the model's own.")
    axes: Literal["own", "principal"] = Field(
        "own",
        title="Axes",
        description="`principal`: turned so that the first dimensions carry most. For a teacher without MRL.",
    )
    batch: int = Field(64, ge=1, title="Texts per batch")
    texts_per_part: int = Field(10_000, ge=1, title="Texts per part", description="A stopped run loses one part.")

    @model_validator(mode="after")
    def _one_teacher(self) -> Self:
        if bool(self.model) == bool(self.vectors):
            raise ValueError("teacher: give either a model, or model = '' and a file of vectors.")
        return self


class StudentSettings(Section):
    """Backbone -> pooling -> Dense to the teacher's size -> L2 normalisation, if the teacher's vectors are unit."""

    backbone: str = Field("demo", title="Backbone", description="An encoder: a folder, a Hugging Face id, or `demo`.")
    revision: str | None = Field(None, title="Revision", description="A commit of the Hugging Face model.")
    layers: int | None = Field(None, ge=1, title="Layers kept", description="The first so many. Empty: all.")
    pooling: Literal["mean", "cls", "max"] = Field("mean", title="Pooling")
    dense_bias: bool = Field(True, title="Bias of the Dense layer")
    dense_start: Literal["random", "least_squares"] = Field(
        "random",
        title="Start of the Dense layer",
        description="`least_squares`: the best linear map from the untrained backbone. For short runs.",
    )
    dropout: bool = Field(
        True, title="Dropout", description="As the backbone has it. Off: each step sees the whole student."
    )
    train_word_vectors: bool = Field(
        True, title="Train the word vectors", description="Off: they stay as they are, which makes a step cheaper."
    )
    start_texts: int = Field(4_000, ge=1, title="Texts for that start")
    max_tokens: int = Field(512, ge=4, title="Longest text", description="In tokens.")


class TrainingSettings(Section):
    """AdamW; the learning rate falls linearly, several times over."""

    loss: Literal["l2", "squared_l2"] = Field(
        "l2", title="Loss", description="Distance of student and teacher vector, or its square."
    )
    batch: int = Field(32, ge=1, title="Texts per step", description="Small batches do better, says the paper.")
    epochs: int = Field(10, ge=1, title="Epochs of a cycle")
    cycles: int = Field(3, ge=1, title="Cycles", description="Each starts again at the first learning rate.")
    learning_rate: float = Field(1e-4, gt=0, title="First learning rate")
    last_learning_rate: float = Field(1e-5, ge=0, title="Last learning rate of a cycle")
    weight_decay: float = Field(0.01, ge=0, title="Weight decay")


class EvaluationSettings(Section):
    """What is examined, for the teacher, for the student alone, and for student queries on teacher documents."""

    dims: Counts = Field((256, 128), title="Truncated to", description="The first so many dimensions (MRL).")
    precisions: tuple[Literal["float32", "int8", "binary"], ...] = Field(
        ("float32", "int8", "binary"), title="Precisions", description="Of queries and documents alike."
    )
    rotated_control: bool = Field(
        True,
        title="Control of inheritance",
        description="Also distil from the teacher's vectors randomly rotated: as good in full, MRL destroyed.",
    )

    @model_validator(mode="after")
    def _in_full_too(self) -> Self:
        if "float32" not in self.precisions:
            raise ValueError("evaluation.precisions must hold 'float32': the others are compared with it.")
        return self


class Config(JobConfig):
    """One distillation of an embedding model."""

    data: Annotated[DataSettings, Field(title="Data")] = DataSettings()
    teacher: Annotated[TeacherSettings, Field(title="Teacher")] = TeacherSettings()
    student: Annotated[StudentSettings, Field(title="Student")] = StudentSettings()
    training: Annotated[TrainingSettings, Field(title="Training")] = TrainingSettings()
    evaluation: Annotated[EvaluationSettings, Field(title="Evaluation")] = EvaluationSettings()

    @model_validator(mode="after")
    def _the_demo_is_of_one_piece(self) -> Self:
        others = {"teacher.model": self.teacher.model, "student.backbone": self.student.backbone}
        if self.data.examination != "demo" and "demo" in others.values():
            named = ", ".join(key for key, value in others.items() if value == "demo")
            raise ValueError(f"{named} 'demo' knows the demo's words only: name a model, or data.examination = 'demo'.")
        return self
