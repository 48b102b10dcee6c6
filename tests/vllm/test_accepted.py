"""The server for other programs: chats under one name, switched adapters, its key, no development paths."""

import shutil
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from cyclealign.errors import WrongWeights
from cyclealign.policy import vllm_accepted
from cyclealign.policy.attestation import PROBE_FILE
from cyclealign.policy.vllm_accepted import AcceptedServer
from cyclealign.policy.vllm_requests import score
from cyclealign.records import Adapter
from tests.vllm.conftest import PROMPTS

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
PER_TOKEN = 1e-3  # float32, nats


def test_adapters_are_switched_under_one_name_without_a_restart(
    settings, engine, adapters, twin, monkeypatch, tmp_path
):
    """Prevents answers of the round before under the name of the new one, and a server open to every program."""
    starts = []

    class Noted(vllm_accepted.ManagedServer):
        def __init__(self, *given):
            starts.append(given)
            super().__init__(*given)

    monkeypatch.setattr(vllm_accepted, "ManagedServer", Noted)
    rows = [[*twin.prompt_ids(prompt), *twin.prompt_ids(prompt)[-6:]] for prompt in PROMPTS[:4]]
    server = AcceptedServer(settings, engine, settings.model, "mine", "our-key")
    try:
        found = []
        for adapter in (*adapters, adapters[0]):
            server.show(adapter)
            measured = score(server._server.client, "mine", rows)
            twin.use(adapter)
            for row, expected in zip(measured, twin.token_logprobs(rows), strict=True):
                assert row == pytest.approx(expected, abs=PER_TOKEN)
            found.append(measured)
        assert all(before != after for before, after in pairwise(found))
        assert len(starts) == 1
        body = {"model": "mine", "messages": [dict(turn) for turn in PROMPTS[0].messages], "max_tokens": 4}
        key = {"Authorization": "Bearer our-key"}
        reply = httpx.post(f"{server.url}/chat/completions", json=body, headers=key, timeout=60)
        assert (reply.status_code, reply.json()["model"]) == (200, "mine")
        assert httpx.post(f"{server.url}/chat/completions", json=body, timeout=60).status_code == 401
        root = server.url.removesuffix("/v1")
        assert httpx.post(f"{root}/reset_prefix_cache", headers=key, timeout=60).status_code == 404
        mixed = Path(shutil.copytree(adapters[0].path, tmp_path / "mixed"))
        shutil.copy(Path(adapters[1].path) / PROBE_FILE, mixed)
        with pytest.raises(WrongWeights):
            server.show(Adapter("mixed", str(mixed), "0" * 64, None))
    finally:
        server.stop()
