"""Values of a collection: queries, documents, candidates to re-rank with their judgements, and passage triples."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class JudgedQuery:
    """A query id, the document ids to be re-ranked for it, and document id -> relevance grade.

    A relevant document that is not a candidate is missing from every ranking, and lowers the metrics of all arms.
    """

    query: str
    candidates: tuple[str, ...]
    grades: Mapping[str, int]

    @property
    def relevant(self) -> list[str]:
        """Candidates with a grade above 0."""
        return [document for document in self.candidates if self.grades.get(document, 0) > 0]

    @property
    def irrelevant(self) -> list[str]:
        """Candidates with grade 0 or without a judgement."""
        return [document for document in self.candidates if self.grades.get(document, 0) <= 0]


@dataclass(frozen=True)
class Triple:
    """Texts: a query, a passage that answers it and one that does not."""

    query: str
    positive: str
    negative: str


@dataclass(frozen=True)
class Collection:
    """A data set, with texts by id; ``train`` and ``test`` share no query."""

    queries: Mapping[str, str]
    documents: Mapping[str, str]
    passages: tuple[Triple, ...]
    train: tuple[JudgedQuery, ...]
    test: tuple[JudgedQuery, ...]
