"""Full weights on a managed vLLM server: it is restarted on each round's weights, and attested every time."""

import json
import sqlite3
from pathlib import Path

import pytest

from cyclealign.errors import WrongWeights
from cyclealign.policy import vllm_lifecycle
from cyclealign.policy.vllm_policy import VllmPolicy
from cyclealign.policy.vllm_server import ManagedServer
from cyclealign.records import Adapter

pytestmark = pytest.mark.vllm


def test_a_round_restarts_the_server_on_its_new_weights_and_other_weights_are_refused(
    bench,
    engine,
    settings,
    monkeypatch,
):
    """Prevents answers of other weights under the new ones' name, and unnecessary restarts."""
    base, adapters = Path(settings.model), bench.home / "home" / "adapters" / "bench"
    close, starts, caught = VllmPolicy.close, [], []

    class Noted(ManagedServer):
        def __init__(self, given, served):
            starts.append((Path(served.model), served.lora_rank))
            super().__init__(given, served)

    def on_other_weights(policy):
        """At the end of the round the server serves the base model; keep it there in place of the new weights."""
        policy.server._wanted = lambda: policy.server._served
        for _ in range(2):  # it stays refused, and nothing is sampled
            with pytest.raises(WrongWeights, match=r"does not serve|stale weights"):
                policy.use(Adapter("round-1", str(next(adapters.glob("round-1-*"))), "f" * 64, None))
            caught.append(policy.server.incarnation)
        close(policy)

    monkeypatch.setattr(vllm_lifecycle, "ManagedServer", Noted)
    monkeypatch.setattr(VllmPolicy, "close", on_other_weights)
    bench.set("policy", kind="vllm", model=settings.model, max_new_tokens=16, top_up=0)
    bench.set("engine", python=engine.python)
    bench.set("training", method="full", learning_rate=1e-3)
    bench.set("acceptance", min_win_rate=0.0)
    code, output = bench.run()
    assert code == 0, output
    assert starts == [(base, None), (next(adapters.glob("round-1-*")), None), (base, None)]
    assert caught == [3, 3]
    with sqlite3.connect(bench.home / "home" / "cyclealign.db") as database:
        rows = database.execute("SELECT sampling FROM candidate WHERE adapter_id IS NOT NULL").fetchall()
    attested = [json.loads(sampling)["attested_within"] for (sampling,) in rows]
    assert attested
    assert max(attested) < 1e-3
