"""ETM, the expensive one: a cross-encoder over (query, window) rows and the learned sum of the best window scores."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from cyclealign.distill.idcm.windows import Windows, packed_rows
from cyclealign.distill.models.pooling import matched_states, mean_state
from cyclealign.errors import BadConfig

MATCH_SCALE = 10.0  # differences of scores are then of the size that RankNet looks for


class TopWindows(nn.Module):
    """A document's score: its ``top`` best window scores, best first, times learned weights that start at 1.

    A window that is not there counts 0, by its mask and not by its score.
    """

    def __init__(self, top: int = 3) -> None:
        super().__init__()
        self.weights_L = nn.Parameter(torch.ones(top))

    def forward(self, scores_NP: Tensor, mask_NP: Tensor) -> Tensor:
        """Scores and mask of the windows, both (N, P), to document scores (N,)."""
        top = min(len(self.weights_L), scores_NP.shape[1])
        best_NL, places_NL = scores_NP.masked_fill(~mask_NP, -torch.inf).topk(top, dim=1)
        weights_L = self.weights_L[:top].to(scores_NP.device)  # evaluation has the scores on the CPU
        return best_NL.masked_fill(~mask_NP.gather(1, places_NL), 0.0) @ weights_L


class ETM(nn.Module):
    """BERT_CAT on one window: the encoder's first hidden state, then Linear(hidden, 1).

    Args:
        encoder: any transformers encoder that takes ``input_ids`` and ``attention_mask``. Where its config has an
            ``etm_pooling`` (it is saved with it), a vector of another kind takes the first state's place; with
            ``etm_precision = "bfloat16"`` its matrix products are of that precision.
        top: windows that make up a document's score.
    """

    def __init__(self, encoder: Any, top: int = 3) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, 1)
        self.aggregate = TopWindows(top)

    @property
    def embeddings(self) -> nn.Module:
        """The embedding layer (words, positions, normalisation), which ESM reads.

        Raises:
            BadConfig: the encoder keeps it elsewhere.
        """
        found = getattr(self.encoder, "embeddings", None)
        if not isinstance(found, nn.Module):
            kind = type(self.encoder).__name__
            raise BadConfig(f"{kind} has no `embeddings` layer for ESM to read. Take a BERT-like encoder.")
        return found

    def forward(self, ids_RW: Tensor, mask_RW: Tensor, segments_RW: Tensor) -> Tensor:
        """Scores of rows of tokens, shape (R,); segments go to encoders that know two of them."""
        more = {"token_type_ids": segments_RW} if getattr(self.encoder.config, "type_vocab_size", 0) > 1 else {}
        with torch.autocast(ids_RW.device.type, torch.bfloat16) if self._halved else nullcontext():
            hidden_RWH = self.encoder(input_ids=ids_RW, attention_mask=mask_RW.long(), **more).last_hidden_state
        scores_R: Tensor = self.head(self._pooled(hidden_RWH.float(), mask_RW, segments_RW)).squeeze(1)
        return scores_R

    def start_from_match(self) -> None:
        """Let the untrained head of ``etm_pooling = "match"`` give ten times the correlation of query and window."""
        nn.init.constant_(self.head.weight, MATCH_SCALE / self.head.in_features)
        nn.init.zeros_(self.head.bias)

    @property
    def _halved(self) -> bool:
        return getattr(self.encoder.config, "etm_precision", "float32") == "bfloat16"

    def _pooled(self, hidden_RWH: Tensor, mask_RW: Tensor, segments_RW: Tensor) -> Tensor:
        """One vector a row, shape (R, H)."""
        pooling = getattr(self.encoder.config, "etm_pooling", "first")
        if pooling == "match":
            window_RW = segments_RW.bool()
            return matched_states(hidden_RWH, mask_RW & ~window_RW, mask_RW & window_RW)
        return mean_state(hidden_RWH, mask_RW) if pooling == "mean" else hidden_RWH[:, 0]

    def window_scores(self, queries: Sequence[Tensor], windows: Sequence[Windows], rows_at_once: int = 64) -> Tensor:
        """Scores of all given windows of all pairs, one after another, shape (R,), on this module's device.

        Rows of several documents go through the encoder together, at most ``rows_at_once`` of them.
        """
        here = self.head.weight.device
        batches = zip(*(each.to(here).split(rows_at_once) for each in packed_rows(queries, windows)), strict=True)
        return torch.cat([self(*batch) for batch in batches])
