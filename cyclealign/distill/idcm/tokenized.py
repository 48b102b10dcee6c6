"""Text to token ids: queries and documents of a collection as the modules take them, and counts of matching terms."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from cyclealign.distill.idcm.config import WindowSettings
from cyclealign.distill.idcm.data import Collection, Judged
from cyclealign.distill.idcm.windows import Windowing, Windows, cut


@dataclass(frozen=True)
class Pair:
    """A query and one of its candidate documents: ids in a collection."""

    query: str
    document: str


class Texts:
    """A collection through a tokenizer; what was tokenised once is kept.

    Args:
        tokenizer: of the ETM's encoder. Queries get its special tokens, documents none.
    """

    def __init__(self, collection: Collection, tokenizer: Any, settings: WindowSettings) -> None:
        self.collection = collection
        self.tokenizer = tokenizer
        self.query_tokens = settings.query_tokens
        self.windowing = Windowing(settings.centre, settings.overlap, settings.max_windows)
        self._queries: dict[str, Tensor] = {}
        self._documents: dict[str, Windows] = {}

    def query(self, text: str) -> Tensor:
        """Token ids of a query with special tokens, at most ``query_tokens``, shape (Q,)."""
        if text not in self._queries:
            ids = self.tokenizer(text, truncation=True, max_length=self.query_tokens)["input_ids"]
            self._queries[text] = torch.tensor(ids, dtype=torch.long)
        return self._queries[text]

    def passage(self, text: str) -> Windows:
        """A passage as one window: its first tokens."""
        return cut(self._ids(text), Windowing(self.windowing.tokens, 0, 1))

    def document(self, name: str) -> Windows:
        """The windows of a document."""
        if name not in self._documents:
            self._documents[name] = cut(self._ids(self.collection.documents[name]), self.windowing)
        return self._documents[name]

    def pairs(self, pairs: Sequence[Pair]) -> tuple[list[Tensor], list[Windows]]:
        """Queries and documents of pairs."""
        queries = [self.query(self.collection.queries[each.query]) for each in pairs]
        return queries, [self.document(each.document) for each in pairs]

    def content(self, pairs: Sequence[Pair]) -> list[list[str]]:
        """The texts of pairs, for the hash that names their labels."""
        texts = self.collection
        return [[texts.queries[each.query], texts.documents[each.document]] for each in pairs]

    @cached_property
    def special(self) -> Tensor:
        """Ids that are no terms."""
        return torch.tensor(self.tokenizer.all_special_ids)

    def _ids(self, text: str) -> list[int]:
        # More than the last window can hold need not be kept; cutting here avoids the tokenizer's own warning.
        room = self.windowing.centre * self.windowing.max_windows
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, truncation=True, max_length=room)["input_ids"]
        return ids


def all_pairs(judged: Iterable[Judged]) -> list[Pair]:
    """Every query with each of its candidates."""
    return [Pair(each.query, document) for each in judged for document in each.candidates]


def training_pairs(judged: Sequence[Judged], negatives: int, seed: int) -> list[Pair]:
    """Every query with its relevant candidates and ``negatives`` of the others: what ETM labels for stage 3."""
    draw = random.Random(seed)
    pairs = []
    for each in judged:
        others = each.others
        chosen = [*sorted(each.relevant), *draw.sample(others, min(negatives, len(others)))]
        pairs += [Pair(each.query, document) for document in chosen]
    return pairs


def term_counts(texts: Texts, pairs: Sequence[Pair], inverse: Tensor | None = None) -> list[Tensor]:
    """For each window of each pair, how many of its tokens are terms of the query, shape (P,) each.

    Args:
        inverse: weight of each token id; 1 where absent.
    """
    counts = []
    for query_Q, document in zip(*texts.pairs(pairs), strict=True):
        terms_Q = query_Q[~torch.isin(query_Q, texts.special)]
        matches_PT = torch.isin(document.ids_PT, terms_Q) & document.mask_PT
        weights_PT = matches_PT.float() if inverse is None else matches_PT * inverse[document.ids_PT]
        counts.append(weights_PT.sum(1))
    return counts


def inverse_window_frequencies(texts: Texts, pairs: Sequence[Pair]) -> Tensor:
    """log(windows / windows with the token) for each token id, over the documents of the pairs."""
    with_token: Counter[int] = Counter()
    windows = 0
    for name in {each.document for each in pairs}:
        document = texts.document(name)
        windows += len(document)
        for ids_T, mask_T in zip(document.ids_PT, document.mask_PT, strict=True):
            with_token.update(ids_T[mask_T].unique().tolist())
    weights = torch.zeros(len(texts.tokenizer))
    for token, count in with_token.items():
        weights[token] = torch.tensor(windows / count).log()
    return weights
