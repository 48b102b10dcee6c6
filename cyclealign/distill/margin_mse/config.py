"""Settings of Margin-MSE. Defaults are the paper's where it is clear (docs/methods.md). Imports no heavy library."""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cyclealign.config import Formerly, Section
from cyclealign.distill.settings import JobConfig

# Increase it when the job's results change: students and runs of earlier versions are then computed anew.
VERSION = 1

DEMO = "demo"  # built-in value of data.source and student.model
LossName = Literal["margin_mse", "pointwise_mse", "weighted_ranknet", "ranknet"]


@dataclass(frozen=True)
class Arm:
    """A student to train: its loss, and the standard deviation of a random offset per query of the teacher's scores."""

    loss: LossName
    offset: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.loss}, offset {self.offset:g}" if self.offset else self.loss


class DemoSettings(Section):
    """Size of the generated demo data."""

    passages: int = Field(1_200, ge=100, title="Passages")
    train_queries: int = Field(500, ge=10, title="Training queries")
    test_queries: int = Field(120, ge=10, title="Test queries")
    teacher_noise: float = Field(
        0.5, ge=0, title="Teacher noise", description="Standard deviation, for the simulated teacher."
    )


class DataSettings(Section):
    """Passages, queries and relevance judgements."""

    source: str = Field(
        DEMO,
        title="Source",
        description="`demo`; a folder in BEIR's format (corpus.jsonl, queries.jsonl, qrels/<split>.tsv, or .txt as "
        "TREC has them); or a Hugging Face data set of that layout such as BeIR/scifact.",
    )
    train_split: str = Field(
        "train", title="Training split", description="Not used with a score file, which lists its own training triples."
    )
    validation_split: str | None = Field(
        None, title="Validation split", description="For early stopping; requires training.validate_every."
    )
    test_split: str = Field("test", title="Test split")
    candidates: int = Field(
        1_000, ge=2, title="Candidates per query", description="BM25's top passages, to be re-ranked."
    )
    negatives: int = Field(16, ge=1, title="Negatives per positive", description="Drawn from the candidates.")
    max_triples: Annotated[int, Formerly("most_triples")] = Field(2_000_000, ge=1, title="Maximum training triples")
    demo: Annotated[DemoSettings, Formerly("world"), Field(title="Demo data")] = DemoSettings()


class TeacherSettings(Section):
    """The teacher's scores."""

    kind: Literal["simulated", "cross_encoders", "trained", "scores"] = Field(
        "simulated",
        title="Kind",
        description="`simulated`: the demo's true relevance with noise. `cross_encoders`: the mean raw score of "
        "existing models. `trained`: the same, each first trained with RankNet on the judgements. `scores`: a "
        "published file.",
    )
    models: tuple[str, ...] = Field((), title="Cross-encoders", description="Local folders or Hugging Face ids.")
    scores: str | None = Field(
        None, title="Score file", description="Tab-separated: pos_score, neg_score, query_id, pos_id, neg_id."
    )
    batch: int = Field(128, ge=1, title="Pairs per batch")
    part: int = Field(50_000, ge=1, title="Pairs per part", description="A stopped run loses at most one part.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind in ("cross_encoders", "trained") and not self.models:
            raise ValueError(f"teacher.models is empty; kind '{self.kind}' needs at least one model.")
        if self.kind == "scores" and not self.scores:
            raise ValueError("teacher.scores is missing; kind 'scores' reads that file.")
        return self


class StudentSettings(Section):
    """The ranker to train."""

    kind: Literal["dot", "colbert", "prett", "tk", "cat"] = Field(
        "dot",
        title="Kind",
        description="`dot`: bi-encoder with dot product. `colbert`: late interaction. `prett`: split layers. `tk`: "
        "Transformer kernel model. `cat`: cross-encoder.",
    )
    model: str = Field(
        "distilbert/distilbert-base-uncased",
        title="Encoder",
        description="A local folder, a Hugging Face id, or `demo`; not used by `tk`.",
    )
    layers: int | None = Field(None, ge=0, title="Layers", description="Keep the first layers only. Empty: all.")
    pooling: Literal["cls", "mean"] = Field("cls", title="Bi-encoder pooling")
    query_tokens: int = Field(30, ge=2, title="Max query tokens")
    passage_tokens: int = Field(200, ge=4, title="Max passage tokens")
    query_masks: int = Field(8, ge=0, title="Query mask tokens", description="`colbert` only.")
    token_size: int = Field(768, ge=1, title="Token vector size", description="`colbert` only.")
    split: int = Field(3, ge=1, title="Layers before the join", description="`prett` only.")
    embeddings: str | None = Field(
        None,
        title="Word vectors",
        description="`tk` only: a text file with a word and its vector per line. Empty: trained from random.",
    )
    embedding_size: int = Field(300, ge=2, title="Word vector size", description="`tk` without a file.")


class TrainingSettings(Section):
    """Training of the students."""

    arms: tuple[LossName, ...] = Field(
        ("margin_mse", "ranknet"), min_length=1, title="Losses", description="One student is trained per loss."
    )
    offsets: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (),
        title="Offset sweep",
        description="For each standard deviation, add a random offset per query to the teacher's scores and train a "
        "student with each loss of the sweep.",
    )
    offset_arms: tuple[LossName, ...] = Field(("margin_mse", "pointwise_mse"), title="Sweep losses")
    batch: int = Field(32, ge=1, title="Triples per step")
    learning_rate: float = Field(7e-6, gt=0, title="Learning rate")
    kernel_learning_rate: float = Field(1e-4, gt=0, title="TK kernel learning rate")
    epochs: float = Field(1.0, gt=0, title="Epochs")
    warmup: float = Field(0.0, ge=0, lt=1, title="Warm-up share")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", title="Precision", description="The paper uses fp16.")
    validate_every: int = Field(0, ge=0, title="Validate every", description="In steps; 0: never. The paper uses 4000.")
    patience: int = Field(
        30, ge=1, title="Patience", description="Validations without a better nDCG@10 before training stops."
    )
    save_every: int = Field(
        1_000,
        ge=0,
        title="Save every",
        description="Steps between checkpoints; a stopped training resumes from the last one. 0: no checkpoints. "
        "If `validate_every` is set, each validation writes a checkpoint instead.",
    )

    @model_validator(mode="after")
    def _no_repetition(self) -> Self:
        # An arm's folder is named after its offset, so offsets must differ in the digits of their names.
        offsets = [f"{offset:g}" for offset in self.offsets]
        names = {"arms": self.arms, "offset_arms": self.offset_arms, "offsets": offsets}
        for name, values in names.items():
            if len(set(values)) < len(values):
                raise ValueError(f"training.{name} names something twice: {', '.join(values)}.")
        return self


class EvaluationSettings(Section):
    """Measurements on the test split."""

    cutoff: int = Field(10, ge=1, title="Cutoff", description="Of nDCG and MRR.")
    recall: int = Field(1_000, ge=1, title="Recall cutoff", description="For dense retrieval (`dot`).")
    relevant_from: int = Field(1, ge=1, title="Minimum relevant grade", description="For MRR and recall.")
    dense: bool = Field(True, title="Dense retrieval", description="Over all passages, for bi-encoders.")


class Config(JobConfig):
    """Distil a re-ranker's score margins into a faster ranker and compare training losses."""

    data: Annotated[DataSettings, Field(title="Data")] = DataSettings()
    teacher: Annotated[TeacherSettings, Field(title="Teacher")] = TeacherSettings()
    student: Annotated[StudentSettings, Field(title="Student")] = StudentSettings()
    training: Annotated[TrainingSettings, Field(title="Training")] = TrainingSettings()
    evaluation: Annotated[EvaluationSettings, Field(title="Evaluation")] = EvaluationSettings()

    @model_validator(mode="after")
    def _settings_that_go_together(self) -> Self:
        if self.teacher.kind == "simulated" and self.data.source != DEMO:
            raise ValueError("teacher.kind 'simulated' needs the demo data. Name cross-encoders or a score file.")
        if bool(self.training.validate_every) != bool(self.data.validation_split):
            raise ValueError("training.validate_every and data.validation_split go together: set both, or neither.")
        return self

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits whose judgements are read."""
        data = self.data
        train = data.train_split if self.teacher.kind != "scores" else None
        return tuple(split for split in (data.test_split, data.validation_split, train) if split)

    @property
    def arms(self) -> list[Arm]:
        """The students: one for each loss, then those of the offset sweep."""
        training = self.training
        swept = [Arm(loss, offset) for offset in training.offsets for loss in training.offset_arms]
        return list(dict.fromkeys([*(Arm(loss) for loss in training.arms), *swept]))
