"""ETM, the expensive module: a cross-encoder over (query, window) rows, and a weighted sum of the best scores."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from cyclealign.distill.idcm.windows import Windows, packed_rows
from cyclealign.distill.models.pooling import matched_states, mean_state
from cyclealign.errors import BadConfig

MATCH_SCALE = 10.0  # correlations within [-1, 1] become scores whose differences RankNet can tell apart


class TopWindows(nn.Module):
    """A document's score: its ``top`` best window scores, best first, times learned weights initialised to 1.

    A missing window counts 0; the mask decides which are missing, not the score.
    """

    def __init__(self, top: int = 3) -> None:
        super().__init__()
        self.weights_L = nn.Parameter(torch.ones(top))

    def forward(self, scores_NP: Tensor, mask_NP: Tensor) -> Tensor:
        """Return document scores (N,) from scores and mask of their windows, both (N, P)."""
        top = min(len(self.weights_L), scores_NP.shape[1])
        best_NL, windows_NL = scores_NP.masked_fill(~mask_NP, -torch.inf).topk(top, dim=1)
        weights_L = self.weights_L[:top].to(scores_NP.device)  # during evaluation the scores are on the CPU
        return best_NL.masked_fill(~mask_NP.gather(1, windows_NL), 0.0) @ weights_L


class ETM(nn.Module):
    """BERT_CAT on one window: the encoder's first hidden state, then Linear(hidden, 1).

    Args:
        encoder: any transformers encoder that takes ``input_ids`` and ``attention_mask``. Its config, which is saved
            with it, may hold ``etm_pooling``, to replace the first state (see `PairPooling`), and ``etm_precision =
            "bfloat16"``, for its matrix products.
        top: number of windows in a document's score.
    """

    def __init__(self, encoder: Any, top: int = 3) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, 1)
        self.aggregate = TopWindows(top)

    @property
    def embeddings(self) -> nn.Module:
        """The embedding layer (words, positions, normalisation), which ESM shares.

        Raises:
            BadConfig: the encoder has no layer of that name.
        """
        layer = getattr(self.encoder, "embeddings", None)
        if not isinstance(layer, nn.Module):
            kind = type(self.encoder).__name__
            raise BadConfig(f"{kind} has no `embeddings` layer, which ESM needs. Use a BERT-like encoder.")
        return layer

    def forward(self, ids_RW: Tensor, mask_RW: Tensor, segments_RW: Tensor) -> Tensor:
        """Return scores of token rows, shape (R,). Segments are passed only to encoders that distinguish two."""
        segments = {"token_type_ids": segments_RW} if getattr(self.encoder.config, "type_vocab_size", 0) > 1 else {}
        with torch.autocast(ids_RW.device.type, torch.bfloat16) if self._bfloat16 else nullcontext():
            hidden_RWH = self.encoder(input_ids=ids_RW, attention_mask=mask_RW.long(), **segments).last_hidden_state
        scores_R: Tensor = self.head(self._pooled(hidden_RWH.float(), mask_RW, segments_RW)).squeeze(1)
        return scores_R

    def start_from_match(self) -> None:
        """Initialise the head of ``etm_pooling = "match"`` to ten times the correlation of query and window."""
        nn.init.constant_(self.head.weight, MATCH_SCALE / self.head.in_features)
        nn.init.zeros_(self.head.bias)

    @property
    def _bfloat16(self) -> bool:
        return getattr(self.encoder.config, "etm_precision", "float32") == "bfloat16"

    def _pooled(self, hidden_RWH: Tensor, mask_RW: Tensor, segments_RW: Tensor) -> Tensor:
        """Return one vector per row, shape (R, H)."""
        pooling = getattr(self.encoder.config, "etm_pooling", "first")
        if pooling == "match":
            window_RW = segments_RW.bool()
            return matched_states(hidden_RWH, mask_RW & ~window_RW, mask_RW & window_RW)
        return mean_state(hidden_RWH, mask_RW) if pooling == "mean" else hidden_RWH[:, 0]

    def window_scores(self, queries: Sequence[Tensor], windows: Sequence[Windows], rows_at_once: int = 64) -> Tensor:
        """Return scores of all windows of all pairs, one after another, shape (R,), on this module's device.

        The encoder reads at most ``rows_at_once`` rows at a time, which may be of several documents.
        """
        device = self.head.weight.device
        batches = zip(*(rows.to(device).split(rows_at_once) for rows in packed_rows(queries, windows)), strict=True)
        return torch.cat([self(*batch) for batch in batches])
