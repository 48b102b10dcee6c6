"""The cascade inside a document: ESM scores every window, ETM only the ``k`` that ESM puts first."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cyclealign.distill.idcm.esm import ESM
from cyclealign.distill.idcm.etm import ETM
from cyclealign.distill.idcm.windows import Windows, by_document, padded

DOCUMENTS_AT_ONCE = 2  # by ESM on a CPU, whose cache holds what lies between the layers
DOCUMENTS_AT_ONCE_ELSEWHERE = 32  # on an accelerator, which few documents would leave idle


@dataclass(frozen=True)
class Cascade:
    """Both modules, ready to score (query, document) pairs."""

    etm: ETM
    esm: ESM

    @torch.inference_mode()
    def __call__(self, queries: Sequence[Tensor], documents: Sequence[Windows], k: int) -> Tensor:
        """Document scores, shape (N,), from the ETM scores of at most ``k`` windows each.

        ESM's scores choose and never enter. The chosen windows of all documents go through ETM packed together.
        """
        esm_NP, mask_NP = esm_scores(self.esm, queries, documents)
        chosen = [
            chosen_windows(esm_P[mask_P], each, k)
            for esm_P, mask_P, each in zip(esm_NP.cpu(), mask_NP.cpu(), documents, strict=True)
        ]
        return self.every_window(queries, chosen)

    @torch.inference_mode()
    def every_window(self, queries: Sequence[Tensor], documents: Sequence[Windows]) -> Tensor:
        """Document scores, shape (N,), from the ETM scores of all given windows."""
        scores_NP: Tensor = self.etm.aggregate(*etm_scores(self.etm, queries, documents))
        return scores_NP


def chosen_windows(scores_P: Tensor, document: Windows, k: int) -> Windows:
    """The ``k`` windows of highest score, in the document's order; all of them where there are no more."""
    if len(document) <= k:
        return document
    kept_K = scores_P.topk(k).indices.sort().values
    return Windows(document.ids_PT[kept_K], document.mask_PT[kept_K])


def etm_scores(etm: ETM, queries: Sequence[Tensor], documents: Sequence[Windows]) -> tuple[Tensor, Tensor]:
    """ETM's window scores (N, P) and mask (N, P)."""
    return by_document(etm.window_scores(queries, documents), [len(each) for each in documents])


def esm_scores(esm: ESM, queries: Sequence[Tensor], documents: Sequence[Windows]) -> tuple[Tensor, Tensor]:
    """ESM's window scores (N, P) and mask (N, P)."""
    at_once = DOCUMENTS_AT_ONCE if esm.alpha_K.device.type == "cpu" else DOCUMENTS_AT_ONCE_ELSEWHERE
    starts = range(0, len(documents), at_once)
    ends = [start + at_once for start in starts]
    parts = [_packed_esm(esm, queries[a:b], documents[a:b]) for a, b in zip(starts, ends, strict=True)]
    return by_document(torch.cat(parts), [len(each) for each in documents])


def _packed_esm(esm: ESM, queries: Sequence[Tensor], documents: Sequence[Windows]) -> Tensor:
    """ESM's scores of all windows, one after another; each query is encoded once."""
    here = esm.alpha_K.device
    counts = torch.tensor([len(each) for each in documents])
    ids_RT, mask_RT = torch.cat([each.ids_PT for each in documents]), torch.cat([each.mask_PT for each in documents])
    pair_R = torch.repeat_interleave(torch.arange(len(counts)), counts)
    query_NQ, query_mask_NQ = (each.to(here) for each in padded(queries))
    scores_R: Tensor = esm(query_NQ, query_mask_NQ, (ids_RT.to(here), mask_RT.to(here)), pair_R.to(here))
    return scores_R
