"""Whole weights on a managed vLLM server: it is started again on each round's, and attested every time."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from cyclealign.errors import WrongWeights
from cyclealign.policy import serving
from cyclealign.policy.engine import ManagedEngine
from cyclealign.policy.probing import PROBE_FILE
from cyclealign.policy.vllm import VllmPolicy
from cyclealign.records import Adapter
from tests.flows.conftest import bench, tiny_model  # noqa: F401

pytestmark = pytest.mark.vllm


def test_a_round_starts_the_engine_on_its_new_weights_and_other_weights_are_caught(
    bench,  # noqa: F811
    engine,
    settings,
    tmp_path,
    monkeypatch,
):
    """Prevents answers of the parent's weights under the new ones' name, and starts that a round could do without."""
    starts = []

    class Noted(ManagedEngine):
        def __init__(self, given, served):
            starts.append((Path(served.model), served.lora_rank))
            super().__init__(given, served)

    monkeypatch.setattr(serving, "ManagedEngine", Noted)
    bench.set("policy", kind="vllm", model=settings.model, max_new_tokens=16, top_up=0)
    bench.set("engine", python=engine.python)
    bench.set("training", method="full", learning_rate=1e-3)
    bench.set("acceptance", least_win_rate=0.0)
    code, output = bench.run()
    assert code == 0, output
    base, made = Path(settings.model), bench.home / "home" / "adapters" / "bench" / "round-1"
    assert starts == [(base, None), (made, None), (base, None)]
    with sqlite3.connect(bench.home / "home" / "cyclealign.db") as database:
        rows = database.execute("SELECT sampling FROM candidate WHERE adapter_id IS NOT NULL").fetchall()
    attested = [json.loads(sampling)["attested_within"] for (sampling,) in rows]
    assert attested
    assert max(attested) < 1e-3

    stale = shutil.copytree(base, tmp_path / "stale")
    shutil.copy(made / PROBE_FILE, stale)
    policy = VllmPolicy(settings, engine, settings.model, None, lambda text: None)
    try:
        with pytest.raises(WrongWeights, match=r"does not answer with|stale weights"):
            policy.use(Adapter("stale", str(stale), "f" * 64, None))
        assert starts[-1] == (stale, None)
    finally:
        policy.close()
