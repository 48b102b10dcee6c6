"""A policy on a managed vLLM server, for a model folder or the demo's model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cyclealign.config import EngineSettings, PolicySettings, TrainingSettings
from cyclealign.demo.policy import demo_policy
from cyclealign.demo.world import dataset
from cyclealign.files import home
from cyclealign.policy.vllm_policy import VllmPolicy
from cyclealign.records import Message, Prompt


def model_folder(model: str) -> str:
    """Return the model's folder or id; for ``demo`` the demo's policy, trained on first use."""
    return str(demo_policy(home() / "models")) if model == "demo" else model


def prompts(count: int) -> list[Prompt]:
    """Return prompts of the demo world; any model can answer them."""
    texts = dataset.prompts("alignment")
    return [Prompt.of((Message(role="user", content=texts[number % len(texts)]),)) for number in range(count)]


@contextmanager
def served(model: str, max_new_tokens: int, **engine: Any) -> Iterator[VllmPolicy]:
    """Yield a policy whose server starts at the first request and ends with the block."""
    folder = model_folder(model)
    settings = PolicySettings(kind="vllm", model=folder, max_new_tokens=max_new_tokens)
    policy = VllmPolicy(settings, EngineSettings(**engine), folder, TrainingSettings(), print_quietly)
    try:
        yield policy
    finally:
        policy.close()


def print_quietly(text: str) -> None:
    """Print nothing: standard output is for the figures."""


def tokens_in(rows: Sequence[Sequence[Any]]) -> int:
    """Return the number of tokens of the answers."""
    return sum(len(answer.token_ids) for row in rows for answer in row)
