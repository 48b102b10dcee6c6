"""One vector per row from the hidden states of an encoder that read two texts together.

Shapes: ``R`` rows, ``T`` tokens per row, ``H`` hidden size.
"""

from torch import Tensor
from torch.nn.functional import layer_norm


def mean_state(states_RTH: Tensor, mask_RT: Tensor) -> Tensor:
    """Return the mean hidden state under the mask, shape (R, H); zeros where the mask is empty."""
    return (states_RTH * mask_RT.unsqueeze(-1)).sum(1) / mask_RT.sum(1, keepdim=True).clamp(min=1)


def matched_states(states_RTH: Tensor, first_RT: Tensor, second_RT: Tensor) -> Tensor:
    """Return the product of both texts' mean states, each normalised over H to mean 0 and variance 1: shape (R, H).

    Its mean over H is the correlation of the two mean states. A sentence encoder was trained to give similar texts
    similar states, so a head on this product starts from a useful match instead of learning one from scratch. The
    product is one of InferSent's features (Conneau et al. 2017, arXiv 1705.02364).

    Args:
        first_RT: True at the tokens of the first text.
        second_RT: True at the tokens of the second text.
    """
    first_RH, second_RH = mean_state(states_RTH, first_RT), mean_state(states_RTH, second_RT)
    return layer_norm(first_RH, first_RH.shape[-1:]) * layer_norm(second_RH, second_RH.shape[-1:])
