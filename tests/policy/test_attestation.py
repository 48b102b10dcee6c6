"""Attestation: which log-probs of a probe are accepted, and which are refused."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.errors import WrongWeights
from cyclealign.policy.attestation import Probe, attest, compare, truncate_rows

TRAINED = tuple(math.sin(place) - 2 for place in range(64))
PARENT = tuple(value + 0.02 * math.cos(3 * place) for place, value in enumerate(TRAINED))


def noisy(values, size, seed=0):
    draw = random.Random(seed)
    return [value + draw.gauss(0, size) for value in values]


def refused(measured, match, expected=TRAINED, other=PARENT, tolerance=0.05):
    with pytest.raises(WrongWeights, match=match):
        attest(measured, expected, other, tolerance, "adapter x")


def test_the_trained_weights_pass_in_spite_of_the_engines_rounding():
    """Prevents an attestation so strict that no engine in bfloat16 passes."""
    found = attest(noisy(TRAINED, 0.01), TRAINED, PARENT, 0.05, "adapter x")
    assert found.projection == pytest.approx(1, abs=0.3)
    assert found.mean_difference < 0.02


def test_stale_weights_are_refused_though_they_are_within_the_tolerance():
    """Prevents the failure that a tolerance alone lets pass: a training step smaller than the engine's rounding."""
    refused(noisy(PARENT, 0.002), "stale weights")


def test_foreign_weights_are_refused():
    """Prevents answers of another model from being recorded as the adapter's."""
    refused([value - 0.3 for value in TRAINED], "differ from training's by a mean of 0.3")


def test_nan_is_refused():
    """Prevents a comparison that NaN passes."""
    refused([math.nan] * 64, "differ")


def test_an_adapter_that_the_probe_cannot_distinguish_from_its_parent_is_refused():
    """Prevents an attestation that accepts both."""
    refused(noisy(TRAINED, 0.01), "cannot distinguish", other=[value + 1e-4 for value in TRAINED])
    refused(TRAINED, "cannot distinguish", other=TRAINED)


STEPS = st.lists(st.floats(-1, 1).filter(lambda step: abs(step) > 1e-3), min_size=1, max_size=8)


@given(st.floats(0, 1), STEPS)
def test_the_projection_is_the_position_between_the_two_weights(fraction, steps):
    """Prevents a projection that is off where the engine mixes old and new weights."""
    between, now, was = [fraction * step - 2 for step in steps], [step - 2 for step in steps], [-2.0] * len(steps)
    assert compare(between, now, was).projection == pytest.approx(fraction, abs=1e-9)


def test_a_probe_survives_its_file(tmp_path):
    """Prevents a probe that changes on disk, or an error where an old adapter has none."""
    probe = Probe(((1, 2, 3), (4, 5)), (-0.1, -0.2, -1e-9), (-0.3, -0.4, -0.5), (-1.0, -2.0, -3.0))
    probe.save(tmp_path)
    assert Probe.load(tmp_path) == probe
    assert Probe.load(tmp_path / "elsewhere") is None


def test_rows_leave_room_for_the_token_that_vllm_generates():
    """Prevents a probe that vLLM rejects as longer than its context."""
    assert [len(row) for row in truncate_rows([range(500)] * 9, 128)] == [127] * 4
