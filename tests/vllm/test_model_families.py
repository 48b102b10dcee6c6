"""vLLM serves adapters on mixtures of experts and multimodal checkpoints as training left them."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PretrainedConfig

from cyclealign.config import EngineSettings, PolicySettings, TrainingSettings
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.policy.vllm_command import on_gpu
from cyclealign.policy.vllm_policy import VllmPolicy
from cyclealign.records import Adapter, Prompt
from cyclealign.training.job import RankedAnswers, TrainingJob
from cyclealign.training.launcher import train
from tests.support.chat_models import KINDS, ChatModel, make_chat_model

pytestmark = pytest.mark.vllm

PROMPT = Prompt.of(({"role": "user", "content": "how do i bake bread"},))
PER_TOKEN = 1e-3


def has_torchvision(interpreter: str) -> bool:
    """Return whether vLLM's environment can read multimodal models: their classes import torchvision."""
    return subprocess.run([interpreter, "-c", "import torchvision.transforms.v2"], capture_output=True).returncode == 0


def wide_model(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a model with wide heads in ``folder``, which is also the home of the server's log."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(folder / "home"))
    monkeypatch.setitem(KINDS, kind, with_wide_heads(KINDS[kind]))
    return make_chat_model(kind, folder / "model")


def with_wide_heads(parts: ChatModel) -> ChatModel:
    """Return the kind with heads of 32 numbers: vLLM's attention on a CPU has no kernel for 16."""

    def config(**shared: Any) -> PretrainedConfig:
        made = parts.config(**shared)
        made.get_text_config().head_dim = 32
        return made

    return replace(parts, config=config)


@pytest.mark.parametrize("kind", ["qwen3_moe", "gemma3_multimodal"])
def test_the_adapter_is_served_whole(interpreter, tmp_path, monkeypatch, kind):
    """Prevents an adapter of which vLLM leaves a part out, or all of it: names or layers that it was not told."""
    if kind == "qwen3_moe" and not on_gpu():
        pytest.skip("vLLM runs a mixture of experts with adapters on a GPU alone")
    if kind == "gemma3_multimodal" and not has_torchvision(interpreter):
        pytest.skip("vLLM's environment has no torchvision")
    folder = wide_model(kind, tmp_path, monkeypatch)
    settings = PolicySettings(kind="vllm", model=str(folder), max_new_tokens=12)
    twin = TransformersPolicy(settings, str(folder))
    (answers,) = twin.answer([PROMPT], 3, seed=1)
    training = TrainingSettings(process="same", learning_rate=1e-2, epochs=4, lora_rank=4)
    ids = tuple(answer.token_ids for answer in answers)
    lists = (RankedAnswers(tuple(twin.prompt_ids(PROMPT)), ids, 1.0),)
    (tmp_path / "adapter").mkdir()
    train(TrainingJob(str(folder), None, None, training, lists, seed=0), tmp_path / "adapter", lambda step, of: None)
    adapter = Adapter("adapter", str(tmp_path / "adapter"), "0" * 64, None)
    policy = VllmPolicy(
        settings, EngineSettings(python=interpreter, restarts=0), str(folder), training, lambda text: None
    )
    try:
        policy.use(adapter)  # attests the log-probs of the probe
        (row,) = policy.answer([PROMPT], 2, seed=2)
        twin.use(adapter)
        expected = twin.logprob_sums(PROMPT, [answer.token_ids for answer in row])
        assert [answer.logprob_sum for answer in row] == pytest.approx(expected, abs=12 * PER_TOKEN)
    finally:
        policy.close()


@pytest.mark.parametrize("kind", ["qwen3_thinking", "gemma2_no_system", "no_pad_token"])
def test_answers_end_and_think_as_their_twins(interpreter, tmp_path, monkeypatch, kind):
    """Prevents answers whose end token, thought or log-prob depends on the engine."""
    folder = wide_model(kind, tmp_path, monkeypatch)
    settings = PolicySettings(kind="vllm", model=str(folder), max_new_tokens=24, system_prompt="be safe")
    twin = TransformersPolicy(settings, str(folder))
    policy = VllmPolicy(
        settings, EngineSettings(python=interpreter), str(folder), TrainingSettings(), lambda text: None
    )
    try:
        (row,) = policy.answer([PROMPT], 16, seed=2)
    finally:
        policy.close()
    prompt_ids, ends = twin.prompt_ids(PROMPT), twin._samples.end_tokens
    assert {answer.token_ids[-1] for answer in row if answer.finish_reason == "stop"} == ends
    for answer in row:
        read = twin._samples.answer(prompt_ids, answer.token_ids, [0.0] * len(answer.token_ids), None)
        assert (answer.text, answer.token_ids) == (read.text, read.token_ids)
        assert (answer.thought and answer.thought.tokens) == (read.thought and read.thought.tokens)
        (expected,) = twin.logprob_sums(PROMPT, [answer.token_ids])
        assert answer.logprob_sum == pytest.approx(expected, abs=PER_TOKEN * len(answer.token_ids))
