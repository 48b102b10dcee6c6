"""Selections of a document's windows, by ESM and by baselines, as tensors (N, P) of selection scores."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cyclealign.distill.idcm.esm import ESM
from cyclealign.distill.idcm.predict import esm_scores
from cyclealign.distill.idcm.tokenized import Pair, TokenizedTexts, inverse_window_frequencies, term_counts

FIRST, TERM_FREQUENCY, TF_IDF, RANDOM = "first", "term frequency", "tf-idf", "random"


def selection_name(loss: str) -> str:
    """Return the name of the selection by the ESM trained with this loss."""
    return f"ESM {loss}"


@torch.inference_mode()
def selections(esms: Mapping[str, ESM], texts: TokenizedTexts, pairs: Sequence[Pair], seed: int) -> dict[str, Tensor]:
    """Return all selections of the pairs' windows, on the CPU; scores at padding are arbitrary."""
    by_esm = {selection_name(loss): esm_scores(esm, *texts.pairs(pairs))[0].cpu() for loss, esm in esms.items()}
    terms_NP = pad_sequence(term_counts(texts, pairs), batch_first=True)
    weights = inverse_window_frequencies(texts, pairs)
    return {
        **by_esm,
        FIRST: -torch.arange(terms_NP.shape[1], dtype=torch.float32).expand_as(terms_NP),
        TERM_FREQUENCY: terms_NP,
        TF_IDF: pad_sequence(term_counts(texts, pairs, weights), batch_first=True),
        RANDOM: torch.rand(terms_NP.shape, generator=torch.Generator().manual_seed(seed)),
    }
