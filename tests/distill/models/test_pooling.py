"""Pooling of the hidden states of two texts."""

import pytest
import torch
from torch import tensor

from cyclealign.distill.models.pooling import matched_states, mean_state

STATES = tensor([[[1.0, 0.0], [3.0, 4.0], [9.0, 9.0]], [[2.0, 2.0], [0.0, 6.0], [4.0, 0.0]]])


def test_a_mean_uses_masked_states_and_is_zero_for_an_empty_mask():
    """Prevents NaN from a window without tokens, which would be ranked arbitrarily."""
    mask = tensor([[True, True, False], [False, False, False]])
    assert mean_state(STATES, mask).tolist() == [[2.0, 2.0], [0.0, 0.0]]


def test_a_match_is_the_correlation_of_the_two_means():
    """Prevents a match that depends on the number of tokens or the scale of the states."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(3, 7, 16, generator=generator, dtype=torch.float64)
    first = torch.arange(7).expand(3, -1) < tensor([[2], [3], [4]])
    matches = matched_states(states, first, ~first).mean(1)
    for row in range(3):
        means = torch.stack([states[row][first[row]].mean(0), states[row][~first[row]].mean(0)])
        assert matches[row].item() == pytest.approx(torch.corrcoef(means)[0, 1].item(), abs=1e-4)
    swapped = matched_states(100 * states, ~first, first).mean(1)
    assert torch.allclose(swapped, matches, atol=1e-4)
