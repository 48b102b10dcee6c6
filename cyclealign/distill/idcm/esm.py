"""ESM, the efficient module: "CK", similar to Conv-KNRM, on the embedding layer of ETM, which stays fixed.

Shapes: ``N`` queries, ``Q`` query tokens, ``R`` windows (of all queries), ``T`` window tokens, ``E`` embedding size,
``C`` channels of the convolution, ``K`` kernels.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad, relu

# Centres of the Gaussian kernels over the cosine; the first one counts exact matches.
CENTRES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7, -0.9)
SIGMA = 0.1
NGRAM = 3
MIN_SUM = 1e-4  # lower bound before the logarithm: a query term without a match costs a fixed amount
SMALL = (384, 128)  # CKS: output sizes of its linear layer and of its convolution


class ESM(nn.Module):
    """Scores windows against a query by soft matches of trigrams.

    Args:
        embeddings: ETM's embedding layer; used without gradient, and not saved with ESM.
        width: size of the embeddings, E.
        small: CKS, that is Linear(E, 384) and a convolution to 128 channels instead of one to E.
    """

    def __init__(self, embeddings: nn.Module, width: int, small: bool = False) -> None:
        super().__init__()
        self._embeddings = [embeddings]  # a list hides it from nn.Module, so it is neither trained nor saved here
        self.reduce = nn.Linear(width, SMALL[0]) if small else nn.Identity()
        self.convolve = nn.Conv1d(SMALL[0] if small else width, SMALL[1] if small else width, NGRAM)
        self.alpha_K = nn.Parameter(torch.ones(len(CENTRES)))
        self.head = nn.Linear(len(CENTRES), 1)
        nn.init.uniform_(self.head.weight, -0.01, 0.01)

    def forward(
        self, query_NQ: Tensor, query_mask_NQ: Tensor, windows: tuple[Tensor, Tensor], pair_R: Tensor
    ) -> Tensor:
        """Return scores of windows, shape (R,).

        Args:
            query_NQ: token ids of queries.
            query_mask_NQ: True at tokens.
            windows: token ids (R, T) and mask (R, T).
            pair_R: row number of each window's query.
        """
        query_NQC = self.ngrams(query_NQ, query_mask_NQ)
        window_RTC = self.ngrams(*windows)
        cosine_RQT = query_NQC[pair_R] @ window_RTC.mT
        sums_RQK = kernel_sums(cosine_RQT, windows[1])
        logs_RQK = (sums_RQK * self.alpha_K).clamp(min=MIN_SUM).log()
        features_RK = (logs_RQK * query_mask_NQ[pair_R].unsqueeze(2)).sum(1)
        scores_R: Tensor = self.head(features_RK).squeeze(1)
        return scores_R

    def ngrams(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Return unit vectors of the trigram that starts at each token, shape (B, T, C); padding enters as zeros."""
        with torch.no_grad():
            embedded_BTE = self._embeddings[0](ids_BT) * mask_BT.unsqueeze(2)
        reduced_BET = (self.reduce(embedded_BTE) * mask_BT.unsqueeze(2)).mT
        return normalize(relu(self.convolve(pad(reduced_BET, (0, NGRAM - 1)))).mT, dim=2)


def kernel_sums(cosine_RQT: Tensor, mask_RT: Tensor) -> Tensor:
    """Return sum_t exp(-(cosine_qt - centre_k)^2 / (2 sigma^2)) over window tokens t, shape (R, Q, K)."""
    weights_RT1 = mask_RT.unsqueeze(2).to(cosine_RQT.dtype)
    return torch.cat(
        [((cosine_RQT - centre).square() * (-0.5 / SIGMA**2)).exp() @ weights_RT1 for centre in CENTRES], dim=2
    )
