"""The cascade inside a document: ESM scores every window, ETM only the ``k`` that ESM ranks first."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cyclealign.distill.idcm.esm import ESM
from cyclealign.distill.idcm.etm import ETM
from cyclealign.distill.idcm.windows import Windows, by_document, pad_queries

CPU_BATCH = 2  # documents per forward pass of ESM; its activations then fit into the cache
GPU_BATCH = 32  # fewer documents would leave a GPU idle


@dataclass(frozen=True)
class Cascade:
    """Both modules, to score (query, document) pairs."""

    etm: ETM
    esm: ESM

    @torch.inference_mode()
    def __call__(self, queries: Sequence[Tensor], documents: Sequence[Windows], k: int) -> Tensor:
        """Return document scores (N,) from ETM's scores of at most ``k`` windows each.

        ESM's scores select the windows and do not enter the result. ETM reads the selected windows of all documents
        packed together.
        """
        esm_NP, mask_NP = esm_scores(self.esm, queries, documents)
        chosen = [
            choose_windows(esm_P[mask_P], document, k)
            for esm_P, mask_P, document in zip(esm_NP.cpu(), mask_NP.cpu(), documents, strict=True)
        ]
        return self.every_window(queries, chosen)

    @torch.inference_mode()
    def every_window(self, queries: Sequence[Tensor], documents: Sequence[Windows]) -> Tensor:
        """Return document scores (N,) from ETM's scores of all given windows."""
        scores_N: Tensor = self.etm.aggregate(*etm_scores(self.etm, queries, documents))
        return scores_N


def choose_windows(scores_P: Tensor, document: Windows, k: int) -> Windows:
    """Return the ``k`` windows of highest score, in document order; all windows if there are at most ``k``."""
    if len(document) <= k:
        return document
    best_K = scores_P.topk(k).indices.sort().values
    return Windows(document.ids_PT[best_K], document.mask_PT[best_K])


def etm_scores(etm: ETM, queries: Sequence[Tensor], documents: Sequence[Windows]) -> tuple[Tensor, Tensor]:
    """Return ETM's window scores (N, P) and mask (N, P)."""
    return by_document(etm.window_scores(queries, documents), [len(document) for document in documents])


def esm_scores(esm: ESM, queries: Sequence[Tensor], documents: Sequence[Windows]) -> tuple[Tensor, Tensor]:
    """Return ESM's window scores (N, P) and mask (N, P)."""
    batch = CPU_BATCH if esm.alpha_K.device.type == "cpu" else GPU_BATCH
    starts = range(0, len(documents), batch)
    parts = [_esm_batch(esm, queries[start : start + batch], documents[start : start + batch]) for start in starts]
    return by_document(torch.cat(parts), [len(document) for document in documents])


def _esm_batch(esm: ESM, queries: Sequence[Tensor], documents: Sequence[Windows]) -> Tensor:
    """Return ESM's scores of all windows, one after another (R,); each query is encoded once."""
    device = esm.alpha_K.device
    counts = torch.tensor([len(document) for document in documents])
    ids_RT = torch.cat([document.ids_PT for document in documents])
    mask_RT = torch.cat([document.mask_PT for document in documents])
    pair_R = torch.repeat_interleave(torch.arange(len(counts)), counts)
    query_NQ, query_mask_NQ = (tensor.to(device) for tensor in pad_queries(queries))
    scores_R: Tensor = esm(query_NQ, query_mask_NQ, (ids_RT.to(device), mask_RT.to(device)), pair_R.to(device))
    return scores_R
