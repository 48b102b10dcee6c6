"""What the job reads: queries, documents, judged candidates to re-rank and passage triples, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Judged:
    """The candidates of one query that are to be re-ranked, and the grades that people gave to documents: ids.

    A relevant document that is no candidate is lost to every ranking of them, and counts against each.
    """

    query: str
    candidates: tuple[str, ...]
    grades: Mapping[str, int]

    @property
    def relevant(self) -> list[str]:
        """Candidates of a grade above 0."""
        return [each for each in self.candidates if self.grades.get(each, 0) > 0]

    @property
    def others(self) -> list[str]:
        """Candidates that are not relevant."""
        return [each for each in self.candidates if self.grades.get(each, 0) <= 0]


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
