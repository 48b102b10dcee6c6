"""The memory of every round: the only way in and out of the database.

Values in and out are cyclealign.records. Every method is one short transaction of its own, may be called from any
thread, and may be called again after a crash: rows have natural keys, so what is there already is not added twice.
"""

from types import TracebackType

from cyclealign.store import connecting, migrating
from cyclealign.store.answers import AnswerMemory
from cyclealign.store.batches import BatchMemory
from cyclealign.store.calls import CallMemory
from cyclealign.store.connecting import database_is_there, database_url
from cyclealign.store.demonstrations import DemonstrationMemory
from cyclealign.store.distillations import DistillationMemory
from cyclealign.store.history import HistoryMemory
from cyclealign.store.judges import JudgeMemory
from cyclealign.store.measurements import MeasurementMemory
from cyclealign.store.overview import OverviewMemory
from cyclealign.store.prompts import PromptMemory, PromptSetSize
from cyclealign.store.rankings import RankingMemory
from cyclealign.store.rejudgements import RejudgementMemory
from cyclealign.store.remarks import RemarkMemory
from cyclealign.store.reviews import ReviewMemory
from cyclealign.store.rounds import RoundMemory, Verdict

__all__ = ["PromptSetSize", "Store", "Verdict", "database_is_there", "database_url"]


class Store(
    PromptMemory,
    RoundMemory,
    AnswerMemory,
    CallMemory,
    BatchMemory,
    RankingMemory,
    RejudgementMemory,
    RemarkMemory,
    ReviewMemory,
    DemonstrationMemory,
    MeasurementMemory,
    HistoryMemory,
    OverviewMemory,
    JudgeMemory,
    DistillationMemory,
):
    """The database, open. Close it, or use it in a ``with`` block."""

    @classmethod
    def open(cls, url: str | None = None) -> "Store":
        """Open the database, made and brought up to date if need be; ``url`` defaults to ``database_url()``.

        Raises:
            StoreError: the URL is wrong, the driver is missing, or the database cannot be reached or read.
            NewerDatabase: a newer cyclealign wrote the database.
        """
        engine = connecting.connect(connecting.parse_url(database_url() if url is None else url))
        try:
            migrating.upgrade(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
