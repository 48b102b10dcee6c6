"""What the benchmarks of vLLM share: a policy on a managed server, for a model folder or the demo's own."""

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
    """The model; for ``demo`` the demo's own, trained if need be."""
    return str(demo_policy(home() / "models")) if model == "demo" else model


def prompts(count: int) -> list[Prompt]:
    """Prompts of the demo world; any model can answer them."""
    texts = dataset.prompts("alignment")
    return [Prompt.of((Message(role="user", content=texts[number % len(texts)]),)) for number in range(count)]


@contextmanager
def served(model: str, max_new_tokens: int, **engine: Any) -> Iterator[VllmPolicy]:
    """A policy whose server starts when first asked, and ends with the block."""
    folder = model_folder(model)
    settings = PolicySettings(kind="vllm", model=folder, max_new_tokens=max_new_tokens)
    policy = VllmPolicy(settings, EngineSettings(**engine), folder, TrainingSettings().lora_rank, print_quietly)
    try:
        yield policy
    finally:
        policy.close()


def print_quietly(text: str) -> None:
    """Nothing: standard output is for the figures."""


def tokens_in(rows: Sequence[Sequence[Any]]) -> int:
    """How many tokens the answers have."""
    return sum(len(answer.token_ids) for row in rows for answer in row)
