"""Losses of preferences as pure functions: SimPO, and those on implicit rewards relative to a reference. No TRL.

Dimensions: ``B`` pairs, ``N`` answers of a list. Log-probs are in nats. The implicit reward of an answer is
beta * (log P - log P_reference), both summed over its tokens (DPO, arXiv 2305.18290, eq. 5 without its constant). The
share s of the verdicts on a pair is the probability that its label is right: label smoothing by 1 - s.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor


def dpo(margins_B: Tensor, smoothing_B: Tensor, beta: float) -> Tensor:
    """Return the DPO loss of each pair, shape (B,): -(1 - e) log sigmoid(beta d) - e log sigmoid(-beta d).

    Rafailov et al., arXiv 2305.18290, eq. 7, for e = 0; with label smoothing e it is conservative DPO (Mitchell, 2023,
    "A note on DPO with noisy preferences").

    Args:
        margins_B: d, the log-ratio to the reference of the chosen answer minus that of the rejected one, shape (B,).
        smoothing_B: e of each pair in [0, 0.5), shape (B,).
        beta: inverse temperature.
    """
    return -(1 - smoothing_B) * F.logsigmoid(beta * margins_B) - smoothing_B * F.logsigmoid(-beta * margins_B)


def ipo(mean_margins_B: Tensor, smoothing_B: Tensor, beta: float) -> Tensor:
    """Return the IPO loss of each pair, shape (B,): (1 - e) (h - c)^2 + e (h + c)^2 with c = 1 / (2 beta).

    Azar et al., arXiv 2310.12036, eq. 17, for e = 0, with beta for their tau. A pair with several verdicts counts as
    one sample for each verdict in the mean of eq. 17: a share 1 - e of them prefers the chosen answer, and a share e
    the rejected one, whose h is -h. Up to a constant that is (h - (1 - 2 e) c)^2.

    Args:
        mean_margins_B: h, the log-ratio to the reference of the chosen answer divided by its length, minus that of the
            rejected one, shape (B,). The division is TRL's, which had it confirmed by the authors.
        smoothing_B: e of each pair in [0, 0.5), shape (B,).
        beta: strength of the regularisation.
    """
    target = 1 / (2 * beta)
    return (1 - smoothing_B) * (mean_margins_B - target) ** 2 + smoothing_B * (mean_margins_B + target) ** 2


def simpo(p_N: Tensor, weights_NN: Tensor, beta: float, gamma: float) -> Tensor:
    """Return the SimPO loss of a list, a scalar: the mean over its decided pairs, with label smoothing 1 - s.

    -s log sigmoid(m) - (1 - s) log sigmoid(-m), with m = beta (p_better - p_worse) - gamma. Meng et al.,
    arXiv 2405.14734, eq. 6, for s = 1; TRL's CPO trainer smooths in the same way. No reference.

    Args:
        p_N: length-normalised log-probs, shape (N,).
        weights_NN: 2 s - 1 of each decided pair, indexed [better, worse]; 0 for other pairs.
        beta: scale of the reward.
        gamma: target margin of the rewards.
    """
    decided_NN = weights_NN > 0
    margins_NN = beta * (p_N.unsqueeze(1) - p_N.unsqueeze(0)) - gamma
    shares_NN = (1 + weights_NN) / 2
    losses_NN = -shares_NN * F.logsigmoid(margins_NN) - (1 - shares_NN) * F.logsigmoid(-margins_NN)
    return torch.where(decided_NN, losses_NN, 0).sum() / decided_NN.sum().clamp(min=1)


def lipo(rewards_N: Tensor, weights_NN: Tensor) -> Tensor:
    """Return the LiPO-lambda loss of a list, a scalar: sum of Delta_ij * -log sigmoid(s_i - s_j) over decided pairs.

    Delta_ij = |2^psi_i - 2^psi_j| * |1 / log(1 + r_i) - 1 / log(1 + r_j)|, with r the rank by s, from 1 (LiPO-lambda,
    Liu et al., arXiv 2402.01878). Delta is a constant for the gradient. See `gains` for psi.

    Args:
        rewards_N: implicit rewards s, shape (N,).
        weights_NN: 2 s - 1 of each decided pair, indexed [better, worse]; 0 for other pairs.
    """
    psi_N = gains(weights_NN).to(rewards_N.dtype)
    # Equal rewards have ranks of their own, in list order: at the parent all are 0, and one rank would make Delta 0.
    ranks_N = 1 + rewards_N.argsort(descending=True, stable=True).argsort()
    discounts_N = 1 / torch.log1p(ranks_N.to(rewards_N.dtype))
    delta_NN = _differences(2**psi_N).abs() * _differences(discounts_N).abs()
    losses_NN = -F.logsigmoid(_differences(rewards_N))
    return torch.where(weights_NN > 0, delta_NN.detach() * losses_NN, 0).sum()


def gains(weights_NN: Tensor) -> Tensor:
    """Return psi in [0, 1], shape (N,): the mean probability that an answer is better than another one of its list.

    From the shares of the verdicts; 1 / 2 for undecided pairs. For a strict order it falls evenly from 1 to 0. The
    judge gives no scores. Shares of its verdicts are probabilities of a win, as LiPO's labels from a pairwise ranking
    model are, while places alone would make a narrow win a whole place.

    Args:
        weights_NN: 2 s - 1 of each decided pair, indexed [better, worse]; 0 for other pairs.
    """
    probabilities_NN = (1 + weights_NN - weights_NN.T) / 2
    others = max(len(weights_NN) - 1, 1)
    return (probabilities_NN.sum(1) - probabilities_NN.diagonal()) / others


def _differences(values_N: Tensor) -> Tensor:
    """Return v_i - v_j, shape (N, N), indexed [i, j]."""
    return values_N.unsqueeze(1) - values_N.unsqueeze(0)
