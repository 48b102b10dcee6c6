"""Queries and documents of a collection as token ids, and counts of matching terms."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from cyclealign.distill.idcm.config import WindowSettings
from cyclealign.distill.idcm.data import Collection, JudgedQuery
from cyclealign.distill.idcm.windows import Windowing, Windows, cut


@dataclass(frozen=True)
class Pair:
    """Ids of a query and of one of its candidate documents."""

    query: str
    document: str


class TokenizedTexts:
    """The texts of a collection as token ids, cached.

    Args:
        tokenizer: of ETM's encoder. Queries get its special tokens, documents do not.
    """

    def __init__(self, collection: Collection, tokenizer: Any, settings: WindowSettings) -> None:
        self.collection = collection
        self.tokenizer = tokenizer
        self.query_tokens = settings.query_tokens
        self.windowing = Windowing(settings.centre, settings.overlap, settings.max_windows)
        self._queries: dict[str, Tensor] = {}
        self._documents: dict[str, Windows] = {}

    def query(self, text: str) -> Tensor:
        """Return token ids of a query with special tokens, at most ``query_tokens`` of them: shape (Q,)."""
        if text not in self._queries:
            ids = self.tokenizer(text, truncation=True, max_length=self.query_tokens)["input_ids"]
            self._queries[text] = torch.tensor(ids, dtype=torch.long)
        return self._queries[text]

    def passage(self, text: str) -> Windows:
        """Return the first tokens of a passage as one window."""
        return cut(self._ids(text), Windowing(self.windowing.tokens, 0, 1))

    def document(self, document_id: str) -> Windows:
        """Return the windows of a document."""
        if document_id not in self._documents:
            self._documents[document_id] = cut(self._ids(self.collection.documents[document_id]), self.windowing)
        return self._documents[document_id]

    def pairs(self, pairs: Sequence[Pair]) -> tuple[list[Tensor], list[Windows]]:
        """Return the token ids of the queries and the windows of the documents of pairs."""
        queries = [self.query(self.collection.queries[pair.query]) for pair in pairs]
        return queries, [self.document(pair.document) for pair in pairs]

    def content(self, pairs: Sequence[Pair]) -> list[list[str]]:
        """Return the texts of pairs, for the cache key of their labels."""
        collection = self.collection
        return [[collection.queries[pair.query], collection.documents[pair.document]] for pair in pairs]

    @cached_property
    def special(self) -> Tensor:
        """Ids of special tokens, which are not terms."""
        return torch.tensor(self.tokenizer.all_special_ids)

    def _ids(self, text: str) -> list[int]:
        # Tokens after the last window are not read; truncating here avoids the tokenizer's warning about its limit.
        max_tokens = self.windowing.centre * self.windowing.max_windows
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, truncation=True, max_length=max_tokens)[
            "input_ids"
        ]
        return ids


def all_pairs(judged: Iterable[JudgedQuery]) -> list[Pair]:
    """Return every query with each of its candidates."""
    return [Pair(query.query, document) for query in judged for document in query.candidates]


def training_pairs(judged: Sequence[JudgedQuery], negatives: int, seed: int) -> list[Pair]:
    """Return the pairs that ETM labels for stage 3: relevant candidates and a sample of ``negatives`` others."""
    draw = random.Random(seed)
    pairs = []
    for query in judged:
        sample = draw.sample(query.irrelevant, min(negatives, len(query.irrelevant)))
        pairs += [Pair(query.query, document) for document in (*sorted(query.relevant), *sample)]
    return pairs


def term_counts(texts: TokenizedTexts, pairs: Sequence[Pair], inverse: Tensor | None = None) -> list[Tensor]:
    """Return for each pair how many tokens of each window are terms of the query, shape (P,) each.

    Args:
        inverse: weight of each token id; default: 1.
    """
    counts = []
    for query_Q, document in zip(*texts.pairs(pairs), strict=True):
        terms_Q = query_Q[~torch.isin(query_Q, texts.special)]
        matches_PT = torch.isin(document.ids_PT, terms_Q) & document.mask_PT
        weights_PT = matches_PT.float() if inverse is None else matches_PT * inverse[document.ids_PT]
        counts.append(weights_PT.sum(1))
    return counts


def inverse_window_frequencies(texts: TokenizedTexts, pairs: Sequence[Pair]) -> Tensor:
    """Return log(windows / windows with the token) for each token id, over the documents of the pairs."""
    with_token: Counter[int] = Counter()
    windows = 0
    for document_id in {pair.document for pair in pairs}:
        document = texts.document(document_id)
        windows += len(document)
        for ids_T, mask_T in zip(document.ids_PT, document.mask_PT, strict=True):
            with_token.update(ids_T[mask_T].unique().tolist())
    weights = torch.zeros(len(texts.tokenizer))
    for token, count in with_token.items():
        weights[token] = torch.tensor(windows / count).log()
    return weights
