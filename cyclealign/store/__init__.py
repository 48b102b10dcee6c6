"""The database of experiments and distillation runs; nothing else reads or writes it.

Values in and out are cyclealign.records. Every method is one short transaction, may be called from any thread, and may
be repeated after a crash, since rows have natural keys: ``add`` keeps an existing row, ``record`` replaces it.
"""

from types import TracebackType

from sqlalchemy import Engine

from cyclealign.store.adapters import AdapterStore
from cyclealign.store.agreements import AgreementStore
from cyclealign.store.approvals import ApprovalStore
from cyclealign.store.batches import BatchStore
from cyclealign.store.calls import CallStore
from cyclealign.store.candidates import CandidateStore
from cyclealign.store.changes import ChangeStore
from cyclealign.store.database import Database, connect, database_is_there, database_url, is_home_database, parse_url
from cyclealign.store.demonstrations import DemonstrationStore
from cyclealign.store.distillations import DistillationStore
from cyclealign.store.draws import DrawStore
from cyclealign.store.endpoints import EndpointStore
from cyclealign.store.exchanges import ExchangeStore
from cyclealign.store.experiments import ExperimentStore
from cyclealign.store.history import HistoryStore
from cyclealign.store.integrity import IntegrityStore
from cyclealign.store.judges import JudgeStore
from cyclealign.store.leases import LeaseStore
from cyclealign.store.logprobs import LogprobStore
from cyclealign.store.metrics import MetricStore
from cyclealign.store.migrate import upgrade
from cyclealign.store.notes import NoteStore
from cyclealign.store.prompt_page import PromptFilter, Property
from cyclealign.store.prompts import Added, PromptSetSize, PromptStore
from cyclealign.store.rankings import RankingStore
from cyclealign.store.rejudgements import RejudgementStore
from cyclealign.store.reviews import ReviewStore
from cyclealign.store.rounds import RoundStore, Verdict
from cyclealign.store.templates import TemplateStore
from cyclealign.store.training_steps import TrainingStepStore
from cyclealign.store.upkeep import UpkeepStore
from cyclealign.store.views import ViewStore

__all__ = [
    "Added",
    "PromptFilter",
    "PromptSetSize",
    "Property",
    "Store",
    "Verdict",
    "database_is_there",
    "database_url",
    "is_home_database",
]

PATIENCE_SECONDS = 600.0  # as by default in the settings of a run


class Store:
    """An open database, one attribute per kind of record. Close it, or use it in a ``with`` block."""

    def __init__(self, engine: Engine, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.engine = engine
        database = Database(engine, patience_seconds)
        self.prompts = PromptStore(database)
        self.draws = DrawStore(database)
        self.experiments = ExperimentStore(database)
        self.leases = LeaseStore(database)
        self.rounds = RoundStore(database)
        self.approvals = ApprovalStore(database)
        self.changes = ChangeStore(database)
        self.candidates = CandidateStore(database)
        self.logprobs = LogprobStore(database)
        self.calls = CallStore(database)
        self.batches = BatchStore(database)
        self.exchanges = ExchangeStore(database)
        self.endpoints = EndpointStore(database)
        self.rankings = RankingStore(database)
        self.agreements = AgreementStore(database)
        self.demonstrations = DemonstrationStore(database)
        self.templates = TemplateStore(database)
        self.reviews = ReviewStore(database)
        self.rejudgements = RejudgementStore(database)
        self.adapters = AdapterStore(database)
        self.metrics = MetricStore(database)
        self.training_steps = TrainingStepStore(database)
        self.notes = NoteStore(database)
        self.history = HistoryStore(database)
        self.views = ViewStore(database)
        self.judges = JudgeStore(database)
        self.upkeep = UpkeepStore(database)
        self.integrity = IntegrityStore(database)
        self.distillations = DistillationStore(database)

    @classmethod
    def open(
        cls,
        url: str | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        statement_seconds: float | None = None,
    ) -> "Store":
        """Open the database, created or migrated if necessary; this fails at once if it does not answer.

        Args:
            url: default: ``database_url()``.
            patience_seconds: longest wait in each method for a database that is away.
            statement_seconds: longest time that PostgreSQL may take for a statement; None: no limit.

        Raises:
            StoreError: the URL is wrong, the driver is missing, or the database cannot be reached or read.
            NewerDatabase: a newer cyclealign wrote the database.
        """
        parsed = parse_url(database_url() if url is None else url)
        engine = connect(parsed)  # migrations may take long
        try:
            upgrade(engine)
            if statement_seconds is not None:
                engine.dispose()
                engine = connect(parsed, statement_seconds)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, patience_seconds)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
