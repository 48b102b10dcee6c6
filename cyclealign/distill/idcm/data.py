"""What the job reads: queries, documents, judged candidates to re-rank and passage triples, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Judged:
    """The candidates of one query that are to be re-ranked, and which of them are relevant: ids."""

    query: str
    candidates: tuple[str, ...]
    relevant: frozenset[str]

    @property
    def others(self) -> list[str]:
        """Candidates that are not relevant."""
        return [each for each in self.candidates if each not in self.relevant]


@dataclass(frozen=True)
class Triple:
    """Texts: a query, a passage that answers it and one that does not."""

    query: str
    positive: str
    negative: str


@dataclass(frozen=True)
class Collection:
    """Everything of a data set, texts by id; ``train`` and ``test`` have no query in common."""

    queries: Mapping[str, str]
    documents: Mapping[str, str]
    passages: tuple[Triple, ...]
    train: tuple[Judged, ...]
    test: tuple[Judged, ...]
