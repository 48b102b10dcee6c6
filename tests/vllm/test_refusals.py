"""A vLLM server that cannot start says why in vLLM's own words."""

import pytest

from cyclealign.errors import EngineFailed
from cyclealign.policy.vllm_policy import VllmPolicy

pytestmark = pytest.mark.vllm


def test_a_model_that_does_not_fit_is_named_by_vllm(settings, engine):
    """Prevents a traceback of ours, or "see above", where memory is too small for the model's context."""
    small = engine.model_copy(update={"flags": ("--num-gpu-blocks-override", "1")})
    policy = VllmPolicy(settings, small, settings.model, 16, lambda text: None)
    with pytest.raises(EngineFailed, match=r"vLLM did not start: ValueError: No available memory") as caught:
        policy.use(None)
    assert "Traceback" not in str(caught.value)
    policy.close()
