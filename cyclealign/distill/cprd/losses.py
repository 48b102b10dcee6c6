"""The losses of CPRD and of the arms beside it.

Shapes: ``B`` queries (images, or texts), ``K`` negatives of each. Similarities are cosines; a teacher's scores are
match probabilities of the same pairs.
"""

import torch
from torch import Tensor
from torch.nn import functional

from cyclealign.training.losses import plackett_luce

CERTAIN = 1e-4  # match probabilities this near to 0 and 1 have the same logit


def contrastive(similarity_BB: Tensor, temperature: float, image_B: Tensor) -> Tensor:
    """Mean of the two directional cross-entropies; row and column i belong together.

    Args:
        image_B: the number of each pair's image; pairs of the same image are no negatives of each other.
    """
    own_B = torch.arange(len(similarity_BB), device=similarity_BB.device)
    same_BB = (image_B.unsqueeze(1) == image_B.unsqueeze(0)).fill_diagonal_(False)
    scaled_BB = (similarity_BB / temperature).masked_fill(same_BB, -torch.inf)
    return (functional.cross_entropy(scaled_BB, own_B) + functional.cross_entropy(scaled_BB.T, own_B)) / 2


def hardest(similarity_BN: Tensor, teacher_BN: Tensor, negative_BN: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` negatives nearest to the student: their similarities and teacher's scores, shape (B, K) each."""
    near_BN = similarity_BN.masked_fill(~negative_BN, -torch.inf)
    kept = min(count, int(negative_BN.sum(dim=1).min()))
    places_BK = near_BN.topk(kept, dim=1).indices
    return similarity_BN.gather(1, places_BK), teacher_BN.gather(1, places_BK)


def ranking(similarity_BK: Tensor, teacher_BK: Tensor, temperature: float, threshold: float | None) -> Tensor:
    """The chain of arXiv 2407.07479: each valid negative should beat all that the teacher ranks lower.

    L = mean over valid (i, j) of -log( exp(s_ij / tau) / sum_{k >= j} exp(s_ik / tau) ), negatives in the teacher's
    order. Valid are those that it scores above ``threshold``; None makes all valid (the untruncated chain). How the
    paper averages is not known to us; this is the mean over the valid terms.
    """
    order_BK = teacher_BK.argsort(dim=1, descending=True, stable=True)
    chain_BK = similarity_BK.gather(1, order_BK) / temperature
    sorted_BK = teacher_BK.gather(1, order_BK)
    valid_BK = torch.ones_like(chain_BK) if threshold is None else (sorted_BK > threshold).to(chain_BK)
    return plackett_luce(chain_BK, valid_BK).sum() / valid_BK.sum().clamp_min(1)


def divergence(similarity_BK: Tensor, teacher_BK: Tensor, temperature: float) -> Tensor:
    """KL of the student's softmax from the teacher's: over logits of its match probabilities, mean over queries."""
    logits_BK = torch.logit(teacher_BK.clamp(CERTAIN, 1 - CERTAIN))
    return functional.kl_div(
        functional.log_softmax(similarity_BK / temperature, dim=1),
        functional.log_softmax(logits_BK, dim=1),
        log_target=True,
        reduction="batchmean",
    )
