"""ETM's window scores as data: computed once for the same module and texts, in parts, so that a killed run goes on."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cyclealign.distill.idcm.etm import ETM
from cyclealign.distill.idcm.predict import etm_scores
from cyclealign.distill.idcm.tokenized import Pair, Texts
from cyclealign.distill.label_cache import Arrays, cached_labels_in_parts, parts_of
from cyclealign.records import content_id

PAIRS_A_PART = 64
PAIRS_AT_ONCE = 8


def window_scores(
    folder: Path, etm_hash: str, etm: ETM, texts: Texts, pairs: Sequence[Pair], tell: Callable[[int, int], None]
) -> list[Tensor]:
    """ETM's scores of all windows of each pair, shape (P,) each.

    Args:
        folder: where the labels of the job lie.
        etm_hash: of the folder that the ETM was loaded from.
    """
    made_of = {
        "etm": etm_hash,
        "windows": [texts.query_tokens, texts.windowing.centre, texts.windowing.overlap, texts.windowing.max_windows],
        "pairs": content_id("pairs", texts.content(pairs)),
    }

    def make(part: range) -> Arrays:
        return _scored(etm, texts, [pairs[number] for number in part])

    found = cached_labels_in_parts(folder, made_of, parts_of(len(pairs), PAIRS_A_PART), make, tell)
    counted = zip(found["scores"], found["windows"], strict=True)
    return [torch.from_numpy(scores[:count].copy()) for scores, count in counted]


@torch.inference_mode()
def _scored(etm: ETM, texts: Texts, pairs: Sequence[Pair]) -> Arrays:
    """Scores of pairs, each row as wide as the longest document may be, and each document's number of windows."""
    scores = np.zeros((len(pairs), texts.windowing.max_windows), dtype=np.float32)
    windows = np.zeros(len(pairs), dtype=np.int64)
    for part in parts_of(len(pairs), PAIRS_AT_ONCE):
        scores_NP, mask_NP = etm_scores(etm, *texts.pairs([pairs[number] for number in part]))
        scores[part.start : part.stop, : scores_NP.shape[1]] = scores_NP.cpu().numpy()
        windows[part.start : part.stop] = mask_NP.sum(1).cpu().numpy()
    return {"scores": scores, "windows": windows}
