"""ESM, the efficient one: "CK", a relative of Conv-KNRM on the ETM's embedding layer, which it does not change.

Shapes: ``N`` queries, ``Q`` their tokens, ``R`` windows of any of them, ``T`` their tokens, ``E`` embedding, ``C``
convolution, ``K`` kernels.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad, relu

# Centres of the Gaussian kernels over the cosine; the first stands for exact matches.
CENTRES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7, -0.9)
SIGMA = 0.1
NGRAM = 3
LEAST_SUM = 1e-4  # before the logarithm: a term that nothing matches costs a fixed amount
SMALL = (384, 128)  # widths of CKS: of its linear layer and of its convolution


class ESM(nn.Module):
    """Scores windows against a query by soft matches of three-grams.

    Args:
        embeddings: the ETM's embedding layer; read without gradient, not saved with the ESM.
        width: size of the embeddings, E.
        small: CKS: Linear(E, 384), then the convolution to 128, instead of a convolution to E.
    """

    def __init__(self, embeddings: nn.Module, width: int, small: bool = False) -> None:
        super().__init__()
        self._embeddings = [embeddings]  # in a list: not a submodule, so neither trained nor saved here
        self.reduce = nn.Linear(width, SMALL[0]) if small else nn.Identity()
        self.convolve = nn.Conv1d(SMALL[0] if small else width, SMALL[1] if small else width, NGRAM)
        self.alpha_K = nn.Parameter(torch.ones(len(CENTRES)))
        self.head = nn.Linear(len(CENTRES), 1)
        nn.init.uniform_(self.head.weight, -0.01, 0.01)

    def forward(
        self, query_NQ: Tensor, query_mask_NQ: Tensor, windows: tuple[Tensor, Tensor], pair_R: Tensor
    ) -> Tensor:
        """Scores of windows, shape (R,).

        Args:
            query_NQ: token ids, with their mask.
            windows: token ids (R, T) and mask (R, T).
            pair_R: the number of each window's query.
        """
        query_NQC = self.ngrams(query_NQ, query_mask_NQ)
        window_RTC = self.ngrams(*windows)
        cosine_RQT = query_NQC[pair_R] @ window_RTC.mT
        sums_RQK = kernel_sums(cosine_RQT, windows[1])
        logs_RQK = (sums_RQK * self.alpha_K).clamp(min=LEAST_SUM).log()
        features_RK = (logs_RQK * query_mask_NQ[pair_R].unsqueeze(2)).sum(1)
        scores_R: Tensor = self.head(features_RK).squeeze(1)
        return scores_R

    def ngrams(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Unit vectors of the three-gram that begins at each token, shape (B, T, C); padding enters as zeros."""
        with torch.no_grad():
            embedded_BTE = self._embeddings[0](ids_BT) * mask_BT.unsqueeze(2)
        reduced_BET = (self.reduce(embedded_BTE) * mask_BT.unsqueeze(2)).mT
        return normalize(relu(self.convolve(pad(reduced_BET, (0, NGRAM - 1)))).mT, dim=2)


def kernel_sums(cosine_RQT: Tensor, mask_RT: Tensor) -> Tensor:
    """sum over window terms of exp(-(cosine - centre)^2 / (2 sigma^2)) for each query term and kernel: (R, Q, K)."""
    there_RT1 = mask_RT.unsqueeze(2).to(cosine_RQT.dtype)
    return torch.cat(
        [((cosine_RQT - centre).square() * (-0.5 / SIGMA**2)).exp() @ there_RT1 for centre in CENTRES], dim=2
    )
