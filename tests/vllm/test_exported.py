"""vLLM loads exported weights and gives the policy's log-probs: an adapter on the base model, and merged weights."""

from pathlib import Path

import pytest

from cyclealign.policy import vllm_requests
from cyclealign.policy.portable import write_portable
from cyclealign.policy.vllm_command import ServedModel
from cyclealign.policy.vllm_server import ManagedServer
from tests.vllm.conftest import PROMPTS

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
PER_TOKEN = 1e-3  # float32, nats


@pytest.fixture(scope="module")
def expected(twin, adapters):
    """Rows of token ids, and their log-probs under the second adapter and the base model."""
    rows = [[*twin.prompt_ids(prompt), *twin.prompt_ids(prompt)[-6:]] for prompt in PROMPTS[:4]]
    scored = []
    for adapter in (adapters[1], None):
        twin.use(adapter)
        scored.append([logprob for row in twin.token_logprobs(rows) for logprob in row])
    return rows, *scored


def far(found, expected):
    return max(abs(value - target) for value, target in zip(found, expected, strict=True))


def test_an_exported_adapter_is_served_as_trained(policy, settings, adapters, expected, tmp_path):
    """Prevents an adapter whose config vLLM reads otherwise than this project."""
    rows, own, base = expected
    write_portable(settings, settings.model, Path(adapters[1].path), tmp_path, settings.model, merged=False)
    client = policy.server.ready_client()
    client.load_adapter("exported", str(tmp_path))
    try:
        found = [logprob for row in vllm_requests.score(client, "exported", rows) for logprob in row]
    finally:
        client.unload_adapter("exported")
    assert far(found, own) < PER_TOKEN < far(found, base)


def test_exported_merged_weights_are_served_as_trained(engine, settings, adapters, expected, tmp_path, monkeypatch):
    """Prevents merged weights, or a tokenizer, that vLLM does not load."""
    rows, own, base = expected
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    folder = tmp_path / "merged"
    folder.mkdir()
    write_portable(settings, settings.model, Path(adapters[1].path), folder, settings.model, merged=True)
    server = ManagedServer(engine, ServedModel(str(folder), None, None, ()))
    try:
        server.wait_until_ready()
        found = [logprob for row in vllm_requests.score(server.client, server.name, rows) for logprob in row]
    finally:
        server.stop()
    assert far(found, own) < PER_TOKEN < far(found, base)
