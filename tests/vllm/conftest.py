"""One vLLM server for all these tests, on the demo's tiny policy, with two adapters trained one after the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cyclealign.config import EngineSettings, PolicySettings, TrainingSettings
from cyclealign.demo.world import dataset
from cyclealign.files import hash_of_file
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.policy.vllm_policy import VllmPolicy
from cyclealign.policy.weights import ADAPTER_WEIGHTS
from cyclealign.records import Adapter, Prompt
from cyclealign.training.job import RankedAnswers, TrainingJob
from cyclealign.training.launcher import train
from tests.demo.conftest import policy_folder  # noqa: F401
from tests.support.paths import ROOT

PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
PROMPTS = [Prompt.of(({"role": "user", "content": text},)) for text in dataset.prompts("alignment")[:8]]


@pytest.fixture(scope="session")
def interpreter() -> str:
    if not PYTHON.is_file():
        pytest.skip(f"no vLLM: {PYTHON} is absent (run `make vllm`)")
    return str(PYTHON)


@pytest.fixture(scope="session")
def settings(policy_folder: Path) -> PolicySettings:  # noqa: F811
    return PolicySettings(kind="vllm", model=str(policy_folder), max_new_tokens=24, temperature=0.8, top_p=0.95)


@pytest.fixture(scope="session")
def engine(interpreter: str) -> EngineSettings:
    return EngineSettings(python=interpreter, rest="stay")


@pytest.fixture(scope="session")
def twin(settings: PolicySettings) -> TransformersPolicy:
    """The same model in this process, by transformers, in float32: the reference."""
    return TransformersPolicy(settings, settings.model)


@pytest.fixture(scope="session")
def adapters(
    settings: PolicySettings, twin: TransformersPolicy, tmp_path_factory: pytest.TempPathFactory
) -> list[Adapter]:
    """Two adapters by real training, the second from the first."""
    drawn = twin.answer(PROMPTS, 4, seed=1)
    lists = tuple(
        RankedAnswers(tuple(twin.prompt_ids(prompt)), tuple(answer.token_ids for answer in row), 1.0)
        for prompt, row in zip(PROMPTS, drawn, strict=True)
    )
    trained: list[Adapter] = []
    for number in (1, 2):
        folder = tmp_path_factory.mktemp(f"adapter-{number}")
        chosen = TrainingSettings(process="same", learning_rate=3e-3, epochs=2, prompts_per_step=2)
        parent = trained[-1] if trained else None
        job = TrainingJob(settings.model, None, parent.path if parent else None, chosen, lists, seed=number)
        train(job, folder, lambda step, of: None)
        weights = hash_of_file(folder / ADAPTER_WEIGHTS)
        trained.append(Adapter(f"adapter-{number}", str(folder), weights, parent.id if parent else None))
    return trained


@pytest.fixture(scope="session")
def messages() -> list[str]:
    """The messages that the policy sent to the user."""
    return []


@pytest.fixture(scope="session")
def policy(settings: PolicySettings, engine: EngineSettings, messages: list[str]) -> Iterator[VllmPolicy]:
    """The policy on a managed server that stays up for the session."""
    one = VllmPolicy(settings, engine, settings.model, TrainingSettings(), messages.append)
    yield one
    one.close()
