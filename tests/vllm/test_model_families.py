"""vLLM serves adapters on mixtures of experts and multimodal checkpoints as training left them."""

from pathlib import Path

import pytest

from cyclealign.config import EngineSettings, PolicySettings, TrainingSettings
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.policy.vllm_policy import VllmPolicy
from cyclealign.records import Adapter, Prompt
from cyclealign.training.job import RankedAnswers, TrainingJob
from cyclealign.training.launcher import train
from tests.support.chat_models import make_chat_model

pytestmark = pytest.mark.vllm

PROMPT = Prompt.of(({"role": "user", "content": "how do i bake bread"},))
PER_TOKEN = 1e-3


@pytest.mark.parametrize("kind", ["qwen3_moe", "gemma3_multimodal", "qwen2"])
def test_the_adapter_is_served_whole(interpreter, tmp_path, kind):
    """Prevents an adapter of which vLLM leaves a part out, or all of it: names or layers that it was not told."""
    folder = make_chat_model(kind, tmp_path / "model")
    settings = PolicySettings(kind="vllm", model=str(folder), max_new_tokens=12)
    twin = TransformersPolicy(settings, str(folder))
    (answers,) = twin.answer([PROMPT], 3, seed=1)
    training = TrainingSettings(process="same", learning_rate=1e-2, epochs=4, lora_rank=4)
    ids = tuple(answer.token_ids for answer in answers)
    lists = (RankedAnswers(tuple(twin.prompt_ids(PROMPT)), ids, 1.0),)
    (tmp_path / "adapter").mkdir()
    train(TrainingJob(str(folder), None, None, training, lists, seed=0), tmp_path / "adapter", lambda step, of: None)
    adapter = Adapter("adapter", str(tmp_path / "adapter"), "0" * 64, None)
    policy = VllmPolicy(settings, EngineSettings(python=interpreter), str(folder), training, lambda text: None)
    try:
        policy.use(adapter)  # attests the log-probs of the probe
        (row,) = policy.answer([PROMPT], 2, seed=2)
        twin.use(adapter)
        expected = twin.logprob_sums(PROMPT, [answer.token_ids for answer in row])
        assert [answer.logprob_sum for answer in row] == pytest.approx(expected, abs=12 * PER_TOKEN)
    finally:
        policy.close()
    assert Path(adapter.path).is_dir()
