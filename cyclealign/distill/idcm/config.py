"""Settings of IDCM. The defaults are the paper's or its released code's. Loads no heavy library."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cyclealign.config import Section
from cyclealign.distill.settings import Counts, JobConfig, PairPooling

# Raise it when the job's results change: students and runs of earlier versions are then made anew.
VERSION = 1

MADE = "made"  # the value of data.source that names no folder
SelectionLossName = Literal["ndcg2", "mse", "cross_entropy"]


class WorldSettings(Section):
    """The made-up world of `source = "made"`: one passage that answers at a uniform place of a long document."""

    passages: int = Field(4_000, ge=1, title="Passage triples", description="For stage 1.")
    train_queries: int = Field(40, ge=1, title="Training queries")
    test_queries: int = Field(60, ge=1, title="Test queries")
    candidates: int = Field(8, ge=2, title="Documents a query", description="One of them answers.")
    least_passages: int = Field(37, ge=1, title="Shortest document", description="In passages of about 42 words.")
    most_passages: int = Field(46, ge=1, title="Longest document", description="In passages of about 42 words.")
    entities: int = Field(40, ge=2, le=2_744, title="Entities", description="Made-up names.")

    @model_validator(mode="after")
    def _shortest_is_shorter(self) -> Self:
        if self.least_passages > self.most_passages:
            raise ValueError("data.world.least_passages must not be above data.world.most_passages.")
        return self


class DataSettings(Section):
    """Queries, documents and which answer which."""

    source: str = Field(
        MADE,
        title="Source",
        description="`made`: a world made on the spot; a folder in BEIR's format (corpus.jsonl, queries.jsonl, "
        "qrels/<split>.tsv, or .txt as TREC has them); or a Hugging Face data set of that layout such as BeIR/scifact.",
    )
    world: Annotated[WorldSettings, Field(title="Made-up world")] = WorldSettings()
    train_split: str = Field("train", title="Training split")
    test_split: str = Field("test", title="Test split")
    run: str | None = Field(
        None, title="Candidates", description="A TREC run to re-rank. Empty: BM25 over the documents."
    )
    triples: str | None = Field(
        None,
        title="Passage triples",
        description="For stage 1: lines of query, positive, negative passage; tabs. Empty: stage 1 is left out.",
    )
    candidates: int = Field(100, ge=2, title="Candidates a query", description="Re-ranked; of the run or of BM25.")


class WindowSettings(Section):
    """How text is cut, in tokens."""

    query_tokens: int = Field(30, ge=3, title="Longest query")
    centre: int = Field(50, ge=1, title="Centre of a window", description="Tokens that only this window has.")
    overlap: int = Field(7, ge=0, title="Overlap", description="More tokens on each side.")
    most: int = Field(40, ge=1, title="Windows at most", description="What is behind them is not read.")


class StageSettings(Section):
    """One stage of training."""

    steps: int = Field(1_000, ge=0, title="Steps")
    batch: int = Field(32, ge=1, title="Batch", description="Triples, or documents, a step.")
    learning_rate: float = Field(7e-6, gt=0, title="Learning rate", description="Warms up, then falls to a twentieth.")


class ETMSettings(Section):
    """The expensive module: a cross-encoder over query and window."""

    model: str = Field(
        "distilbert-base-uncased",
        title="Encoder",
        description="Any transformers encoder: a local folder, a Hugging Face id, or `tiny`.",
    )
    revision: str | None = Field(None, title="Revision", description="A commit of the Hugging Face model.")
    layers: int | None = Field(None, ge=1, title="Layers", description="Only the first so many. Empty: all.")
    pooling: PairPooling = Field(
        "first",
        title="Pooling",
        description="`first`: the encoder's first state. `mean`: of all states. `match`: product of the query's and "
        "the window's mean state; the start for sentence encoders, whose first state was never trained.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        title="Precision",
        description="Of the encoder's matrix products, in training and in use; weights and scores stay float32. "
        "`bfloat16` is two to three times as fast where the processor has it.",
    )
    hidden: int = Field(128, ge=8, title="Width of `tiny`", multiple_of=4)
    top: int = Field(3, ge=1, title="Best windows", description="Whose scores make up a document's score.")
    passages: Annotated[StageSettings, Field(title="Stage 1: passages")] = StageSettings()
    documents: Annotated[StageSettings, Field(title="Stage 2: documents")] = StageSettings()
    top_learning_rate: float = Field(7e-4, gt=0, title="Learning rate of the weights of the best windows")


class ESMSettings(Section):
    """The efficient module: chooses windows."""

    variant: Literal["ck", "cks"] = Field("ck", title="Variant", description="`cks` is the small one.")
    losses: tuple[SelectionLossName, ...] = Field(
        ("ndcg2",), min_length=1, title="Losses", description="The first is IDCM's arm; others are compared with it."
    )
    k: int = Field(4, ge=1, title="k", description="Windows that ETM scores; also the highest gain of ndcg2.")
    negatives: int = Field(1, ge=0, title="Other documents a query", description="Labelled beside the relevant ones.")
    training: Annotated[StageSettings, Field(title="Stage 3: selection")] = StageSettings()


class EvaluationSettings(Section):
    """What is measured on the test queries, and how speed is measured."""

    ks: Counts = Field((1, 2, 3, 4, 5, 6, 7, 8), min_length=1, title="Values of k")
    batches: Counts = Field((1, 32), min_length=1, title="Pairs at once", description="For the speed.")
    repeats: int = Field(30, ge=1, title="Repeats", description="Of each side, in turns; the median counts.")
    least_windows: int = Field(30, ge=1, title="Least windows", description="Of the documents that are timed.")
    lengths: Counts = Field(
        (10, 20, 30, 40), min_length=1, title="Lengths", description="Windows, for the latency curve."
    )


class Config(JobConfig):
    """Train ETM and ESM in IDCM's three stages, then compare the cascade with all windows and other selections."""

    data: Annotated[DataSettings, Field(title="Data")] = DataSettings()
    windows: Annotated[WindowSettings, Field(title="Windows")] = WindowSettings()
    etm: Annotated[ETMSettings, Field(title="ETM (teacher)")] = ETMSettings()
    esm: Annotated[ESMSettings, Field(title="ESM (student)")] = ESMSettings()
    evaluation: Annotated[EvaluationSettings, Field(title="Evaluation")] = EvaluationSettings()

    @model_validator(mode="after")
    def _k_is_measured(self) -> Self:
        if self.esm.k not in self.evaluation.ks:
            raise ValueError(f"evaluation.ks must hold esm.k ({self.esm.k}): it is the cascade's own.")
        if len(set(self.esm.losses)) < len(self.esm.losses):
            raise ValueError("esm.losses: each loss may have one arm only.")
        return self
