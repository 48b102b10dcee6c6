"""A vLLM server that cannot start is reported with vLLM's own error."""

import pytest

from cyclealign.config import TrainingSettings
from cyclealign.errors import EngineFailed
from cyclealign.policy.vllm_policy import VllmPolicy

pytestmark = pytest.mark.vllm


def test_a_model_that_does_not_fit_is_reported_with_vllms_error(settings, engine):
    """Prevents a traceback of the app, or "see above", if memory is too small for the model's context."""
    small = engine.model_copy(update={"flags": ("--num-gpu-blocks-override", "1")})
    policy = VllmPolicy(settings, small, settings.model, TrainingSettings(), lambda text: None)
    with pytest.raises(EngineFailed, match=r"vLLM did not start: ValueError: No available memory") as caught:
        policy.use(None)
    assert "Traceback" not in str(caught.value)
    policy.close()
