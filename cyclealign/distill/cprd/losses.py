"""The losses of CPRD (arXiv 2407.07479) and of the arms that it is compared with.

Shapes: ``B`` queries (images, or texts), ``N`` items of the other side, ``K`` negatives of each query. Similarities are
cosines; the teacher's scores are match probabilities of the same pairs.
"""

import torch
from torch import Tensor
from torch.nn import functional

from cyclealign.training.losses import plackett_luce

EPSILON = 1e-4  # match probabilities are clamped to [EPSILON, 1 - EPSILON], so that their logits are finite


def contrastive(similarity_BB: Tensor, temperature: float, image_B: Tensor) -> Tensor:
    """Return InfoNCE, the mean of the cross-entropies of both directions; row and column i are a pair.

    Args:
        similarity_BB: cosines of images (rows) and texts (columns).
        temperature: divides the cosines.
        image_B: index of each pair's image; pairs of the same image are not negatives of each other.
    """
    own_B = torch.arange(len(similarity_BB), device=similarity_BB.device)
    same_BB = (image_B.unsqueeze(1) == image_B.unsqueeze(0)).fill_diagonal_(False)
    scaled_BB = (similarity_BB / temperature).masked_fill(same_BB, -torch.inf)
    return (functional.cross_entropy(scaled_BB, own_B) + functional.cross_entropy(scaled_BB.T, own_B)) / 2


def hardest(similarity_BN: Tensor, teacher_BN: Tensor, negative_BN: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return similarities and teacher scores of the ``count`` negatives nearest to the student, shape (B, K) each.

    K is smaller if a query has fewer negatives.
    """
    candidates_BN = similarity_BN.masked_fill(~negative_BN, -torch.inf)
    kept = min(count, int(negative_BN.sum(dim=1).min()))
    indices_BK = candidates_BN.topk(kept, dim=1).indices
    return similarity_BN.gather(1, indices_BK), teacher_BN.gather(1, indices_BK)


def ranking(similarity_BK: Tensor, teacher_BK: Tensor, temperature: float, threshold: float | None) -> Tensor:
    """Return the ranking loss of arXiv 2407.07479: each valid negative should beat all that the teacher ranks lower.

    L = mean over valid (i, j) of -log( exp(s_ij / tau) / sum_{k >= j} exp(s_ik / tau) ), negatives in the teacher's
    order. Negatives with a teacher score above ``threshold`` are valid; with None all are (the untruncated loss). The
    paper does not say how it averages; this is the mean over the valid terms.
    """
    order_BK = teacher_BK.argsort(dim=1, descending=True, stable=True)
    ordered_BK = similarity_BK.gather(1, order_BK) / temperature
    sorted_BK = teacher_BK.gather(1, order_BK)
    valid_BK = torch.ones_like(ordered_BK) if threshold is None else (sorted_BK > threshold).to(ordered_BK)
    return plackett_luce(ordered_BK, valid_BK).sum() / valid_BK.sum().clamp_min(1)


def divergence(similarity_BK: Tensor, teacher_BK: Tensor, temperature: float) -> Tensor:
    """Return KL(teacher || student) in nats, mean over queries; the teacher's softmax is over logits of its scores."""
    logits_BK = torch.logit(teacher_BK.clamp(EPSILON, 1 - EPSILON))
    return functional.kl_div(
        functional.log_softmax(similarity_BK / temperature, dim=1),
        functional.log_softmax(logits_BK, dim=1),
        log_target=True,
        reduction="batchmean",
    )
