"""Ways to choose a document's windows: by ESM, and without a model. Each is a tensor (N, P) of selection scores."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cyclealign.distill.idcm.esm import ESM
from cyclealign.distill.idcm.predict import esm_scores
from cyclealign.distill.idcm.tokenized import Pair, Texts, inverse_window_frequencies, term_counts

FIRST, TERMS, RARE_TERMS, RANDOM = "first", "term frequency", "tf-idf", "random"


def name_of(loss: str) -> str:
    """The name of the selection by the ESM that this loss trained."""
    return f"ESM {loss}"


@torch.inference_mode()
def selections(esms: Mapping[str, ESM], texts: Texts, pairs: Sequence[Pair], seed: int) -> dict[str, Tensor]:
    """All selections of the windows of pairs, on the CPU; windows that are not there have any score."""
    by_esm = {name_of(loss): esm_scores(esm, *texts.pairs(pairs))[0].cpu() for loss, esm in esms.items()}
    terms_NP = pad_sequence(term_counts(texts, pairs), batch_first=True)
    weights = inverse_window_frequencies(texts, pairs)
    return {
        **by_esm,
        FIRST: -torch.arange(terms_NP.shape[1], dtype=torch.float32).expand_as(terms_NP),
        TERMS: terms_NP,
        RARE_TERMS: pad_sequence(term_counts(texts, pairs, weights), batch_first=True),
        RANDOM: torch.rand(terms_NP.shape, generator=torch.Generator().manual_seed(seed)),
    }
