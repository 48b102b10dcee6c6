"""Labels: ETM's window scores, computed once for the same module and texts, and cached in parts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cyclealign.distill.idcm.etm import ETM
from cyclealign.distill.idcm.predict import etm_scores
from cyclealign.distill.idcm.tokenized import Pair, TokenizedTexts
from cyclealign.distill.label_cache import Arrays, cached_labels_in_parts, parts_of
from cyclealign.progress import OnProgress
from cyclealign.records import content_id

PAIRS_PER_PART = 64
PAIRS_PER_BATCH = 8


def window_scores(
    folder: Path, etm_hash: str, etm: ETM, texts: TokenizedTexts, pairs: Sequence[Pair], on_progress: OnProgress
) -> list[Tensor]:
    """Return ETM's scores of all windows of each pair, shape (P,) each.

    Args:
        folder: the job's label cache.
        etm_hash: content hash of the folder that ETM was loaded from.
    """
    made_of = {
        "etm": etm_hash,
        "windows": [texts.query_tokens, texts.windowing.centre, texts.windowing.overlap, texts.windowing.max_windows],
        "pairs": content_id("pairs", texts.content(pairs)),
    }

    def make(part: range) -> Arrays:
        return _score(etm, texts, [pairs[number] for number in part])

    labels = cached_labels_in_parts(folder, made_of, parts_of(len(pairs), PAIRS_PER_PART), make, on_progress)
    rows = zip(labels["scores"], labels["windows"], strict=True)
    return [torch.from_numpy(scores[:windows].copy()) for scores, windows in rows]


@torch.inference_mode()
def _score(etm: ETM, texts: TokenizedTexts, pairs: Sequence[Pair]) -> Arrays:
    """Return scores of pairs, padded to the maximum number of windows, and each document's number of windows."""
    scores = np.zeros((len(pairs), texts.windowing.max_windows), dtype=np.float32)
    windows = np.zeros(len(pairs), dtype=np.int64)
    for part in parts_of(len(pairs), PAIRS_PER_BATCH):
        scores_NP, mask_NP = etm_scores(etm, *texts.pairs([pairs[number] for number in part]))
        scores[part.start : part.stop, : scores_NP.shape[1]] = scores_NP.cpu().numpy()
        windows[part.start : part.stop] = mask_NP.sum(1).cpu().numpy()
    return {"scores": scores, "windows": windows}
