"""Overlapping windows of a document's tokens, and masked (query, window) rows of several documents.

Shapes: ``N`` documents, ``P`` windows per document, ``T`` tokens per window, ``Q`` tokens per query, ``R`` rows, ``W``
tokens per row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Windowing:
    """Size of windows: ``centre`` own tokens, ``overlap`` more on each side; at most ``max_windows`` per document."""

    centre: int = 50
    overlap: int = 7
    max_windows: int = 40

    @property
    def tokens(self) -> int:
        """Length of a full window, T."""
        return self.centre + 2 * self.overlap


@dataclass(frozen=True)
class Windows:
    """The windows of one document, padded on the right: ids (P, T), and mask (P, T), True at tokens."""

    ids_PT: Tensor  # noqa: N815
    mask_PT: Tensor  # noqa: N815

    def __len__(self) -> int:
        """Number of windows, P."""
        return self.ids_PT.shape[0]


def cut(ids: Sequence[int], windowing: Windowing) -> Windows:
    """Cut a document into windows; window i holds its tokens [centre i - overlap, centre (i + 1) + overlap).

    Every token is in the centre of exactly one window, and every centre holds a token. An empty document gets one
    window without tokens, so it has a score too.
    """
    centre, overlap = windowing.centre, windowing.overlap
    read = ids[: centre * windowing.max_windows]
    starts = range(0, max(1, len(read)), centre)
    rows = [read[max(0, start - overlap) : start + centre + overlap] for start in starts]
    ids_PT = torch.zeros(len(rows), windowing.tokens, dtype=torch.long)
    for row, tokens in enumerate(rows):
        ids_PT[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
    lengths_P1 = torch.tensor([[len(tokens)] for tokens in rows])
    return Windows(ids_PT, torch.arange(windowing.tokens) < lengths_P1)


def packed_rows(queries: Sequence[Tensor], windows: Sequence[Windows]) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows ``query tokens + window tokens`` for all windows of all pairs.

    Padding is only at the end of a row, so a row's positions, and its score, do not depend on the other rows.

    Args:
        queries: token ids of each pair's query without padding, shape (Q,) each.
        windows: the windows to score of each pair.

    Returns:
        ids (R, W), mask (R, W) and segments (R, W): 0 in the query, 1 after it.
    """
    width = max(len(query) for query in queries) + windows[0].ids_PT.shape[1]
    ids, masks, segments = [], [], []
    for query_Q, document in zip(queries, windows, strict=True):
        padding = (0, width - len(query_Q) - document.ids_PT.shape[1])
        query_PQ = query_Q.expand(len(document), -1)
        ids.append(pad(torch.cat([query_PQ, document.ids_PT], dim=1), padding))
        masks.append(pad(torch.cat([torch.ones_like(query_PQ, dtype=torch.bool), document.mask_PT], dim=1), padding))
        segments.append((torch.arange(width) >= len(query_Q)).long().expand(len(document), -1))
    ids_RW, mask_RW, segments_RW = torch.cat(ids), torch.cat(masks), torch.cat(segments)
    longest = int(mask_RW.sum(1).max())
    return ids_RW[:, :longest], mask_RW[:, :longest], segments_RW[:, :longest]


def pad_queries(queries: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return queries of different lengths as one tensor: ids (N, Q), mask (N, Q)."""
    ids_NQ = torch.nn.utils.rnn.pad_sequence(list(queries), batch_first=True)
    lengths_N1 = torch.tensor([[len(query)] for query in queries])
    return ids_NQ, torch.arange(ids_NQ.shape[1]) < lengths_N1


def by_document(flat_R: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Regroup scores of rows by document: scores (N, P), padded with 0, and mask (N, P), on the same device."""
    scores_NP = torch.nn.utils.rnn.pad_sequence(list(flat_R.split(list(counts))), batch_first=True)
    mask_NP = torch.arange(scores_NP.shape[1]) < torch.tensor([[count] for count in counts])
    return scores_NP, mask_NP.to(scores_NP.device)
