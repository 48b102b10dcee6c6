"""Settings of IDCM. Defaults are those of the paper or of its released code. Imports no heavy library."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cyclealign.config import Formerly, Section
from cyclealign.distill.settings import Counts, JobConfig, PairPooling, Trainer, TrainerSettings

# Increase it when the job's results change: students and runs of earlier versions are then computed anew.
VERSION = 1

DEMO = "demo"  # built-in value of data.source and etm.model
SelectionLossName = Literal["ndcg2", "mse", "cross_entropy"]


class DemoSettings(Section):
    """Size of the demo data: each long document has one answering passage, at a uniformly random position."""

    passages: int = Field(4_000, ge=1, title="Passage triples", description="For stage 1.")
    train_queries: int = Field(40, ge=1, title="Training queries")
    test_queries: int = Field(60, ge=1, title="Test queries")
    candidates: int = Field(8, ge=2, title="Documents per query", description="One of them answers.")
    min_passages: Annotated[int, Formerly("least_passages")] = Field(
        37, ge=1, title="Minimum passages per document", description="Passages of about 42 words."
    )
    max_passages: Annotated[int, Formerly("most_passages")] = Field(
        46, ge=1, title="Maximum passages per document", description="Passages of about 42 words."
    )
    entities: int = Field(40, ge=2, le=2_744, title="Entities", description="Invented names.")

    @model_validator(mode="after")
    def _min_is_not_above_max(self) -> Self:
        if self.min_passages > self.max_passages:
            raise ValueError("data.demo.min_passages must not be above data.demo.max_passages.")
        return self


class DataSettings(Section):
    """Queries, documents and relevance judgements."""

    source: Annotated[str, Formerly(values={"made": DEMO})] = Field(
        DEMO,
        title="Source",
        description="`demo`: generated documents; a folder in BEIR's format (corpus.jsonl, queries.jsonl, "
        "qrels/<split>.tsv, or .txt as TREC has them); or a Hugging Face data set of that layout such as BeIR/scifact.",
    )
    demo: Annotated[DemoSettings, Formerly("world"), Field(title="Demo data")] = DemoSettings()
    train_split: str = Field("train", title="Training split")
    test_split: str = Field("test", title="Test split")
    run: str | None = Field(
        None, title="Candidates", description="A TREC run to re-rank. Empty: BM25 over the documents."
    )
    triples: str | None = Field(
        None,
        title="Passage triples",
        description="For stage 1: tab-separated lines of query, positive and negative passage. Empty: skip stage 1.",
    )
    candidates: int = Field(
        100, ge=2, title="Candidates per query", description="From the run or BM25, to be re-ranked."
    )


class WindowSettings(Section):
    """Windows of a text, in tokens."""

    query_tokens: int = Field(30, ge=3, title="Max query tokens")
    centre: int = Field(50, ge=1, title="Window centre", description="Tokens that belong to this window only.")
    overlap: int = Field(7, ge=0, title="Overlap", description="Additional tokens on each side.")
    max_windows: Annotated[int, Formerly("most")] = Field(
        40, ge=1, title="Maximum windows", description="Text after the last window is ignored."
    )


class StageSettings(Section):
    """One stage of training."""

    steps: int = Field(1_000, ge=0, title="Steps")
    batch: int = Field(32, ge=1, title="Batch", description="Triples or documents per step.")
    learning_rate: float = Field(7e-6, gt=0, title="Learning rate", description="Warms up, then falls to a twentieth.")


class ETMSettings(Section):
    """The expensive module: a cross-encoder over query and window."""

    model: Annotated[str, Formerly(values={"tiny": DEMO})] = Field(
        "distilbert-base-uncased",
        title="Encoder",
        description="Any transformers encoder: a local folder, a Hugging Face id, or `demo`.",
    )
    revision: str | None = Field(None, title="Revision", description="Commit of the Hugging Face model.")
    layers: int | None = Field(None, ge=1, title="Layers", description="Keep the first layers only. Empty: all.")
    pooling: PairPooling = Field(
        "first",
        title="Pooling",
        description="`first`: the encoder's first state. `mean`: mean of all states. `match`: product of the query's "
        "and the window's mean state; for sentence encoders, whose first state was never trained.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        title="Precision",
        description="Of the encoder's matrix products, in training and inference; weights and scores stay float32. "
        "`bfloat16` is two to three times as fast on processors that support it.",
    )
    hidden: int = Field(128, ge=8, title="Hidden size of `demo`", multiple_of=4)
    top: int = Field(3, ge=1, title="Top windows", description="Number of best windows in a document's score.")
    passages: Annotated[StageSettings, Field(title="Stage 1: passages")] = StageSettings()
    documents: Annotated[StageSettings, Field(title="Stage 2: documents")] = StageSettings()
    top_learning_rate: float = Field(7e-4, gt=0, title="Learning rate of the top-window weights")


class ESMSettings(Section):
    """The efficient module, which selects windows."""

    variant: Literal["ck", "cks"] = Field("ck", title="Variant", description="`cks` is the smaller one.")
    losses: tuple[SelectionLossName, ...] = Field(
        ("ndcg2",),
        min_length=1,
        title="Losses",
        description="The first one trains the cascade's ESM; the others are compared with it.",
    )
    k: int = Field(4, ge=1, title="k", description="Windows scored by ETM; also the highest gain of ndcg2.")
    negatives: int = Field(
        1, ge=0, title="Negatives per query", description="Labelled in addition to the relevant documents."
    )
    training: Annotated[StageSettings, Field(title="Stage 3: selection")] = StageSettings()


class EvaluationSettings(Section):
    """Measurements on the test queries, including speed."""

    ks: Counts = Field((1, 2, 3, 4, 5, 6, 7, 8), min_length=1, title="Values of k")
    batches: Counts = Field((1, 32), min_length=1, title="Batch sizes", description="For the speed measurement.")
    repeats: int = Field(
        30, ge=1, title="Repeats", description="Timings of each side, alternating; the median is reported."
    )
    min_windows: Annotated[int, Formerly("least_windows")] = Field(
        30, ge=1, title="Minimum windows", description="Of the timed documents."
    )
    lengths: Counts = Field(
        (10, 20, 30, 40), min_length=1, title="Lengths", description="In windows, for the latency curve."
    )


class Config(JobConfig):
    """Train ETM and ESM in IDCM's three stages, then compare the cascade with all windows and other selections."""

    data: Annotated[DataSettings, Field(title="Data")] = DataSettings()
    windows: Annotated[WindowSettings, Field(title="Windows")] = WindowSettings()
    etm: Annotated[ETMSettings, Field(title="ETM (teacher)")] = ETMSettings()
    esm: Annotated[ESMSettings, Field(title="ESM (student)")] = ESMSettings()
    trainer: Trainer = TrainerSettings()
    evaluation: Annotated[EvaluationSettings, Field(title="Evaluation")] = EvaluationSettings()

    @model_validator(mode="after")
    def _k_is_evaluated(self) -> Self:
        if self.esm.k not in self.evaluation.ks:
            raise ValueError(f"evaluation.ks must include esm.k ({self.esm.k}), the cascade's k.")
        if len(set(self.esm.losses)) < len(self.esm.losses):
            raise ValueError("esm.losses names a loss twice.")
        return self
