"""A round of `align` on a managed vLLM server whose engine is killed during the round."""

import json
import sqlite3

import psutil
import pytest

from cyclealign.policy.vllm_policy import VllmPolicy

pytestmark = pytest.mark.vllm


def kill_engine(policy: VllmPolicy) -> None:
    processes = psutil.Process(policy.server.process_group).children(recursive=True)
    next(each for each in processes if "EngineCore" in " ".join(each.cmdline())).kill()


def test_a_round_survives_its_engine(bench, interpreter, settings, monkeypatch):
    """Prevents answers that are lost or sampled twice when vLLM dies, and a second round on the first one's weights."""
    answer, calls = VllmPolicy.answer, []

    def killed_once(self, prompts, count, seed):
        calls.append(seed)
        if len(calls) == 2:  # the first batch is stored, the second under way
            kill_engine(self)
        return answer(self, prompts, count, seed)

    monkeypatch.setattr(VllmPolicy, "answer", killed_once)
    bench.set("policy", kind="vllm", model=settings.model, max_new_tokens=16, top_up=0)
    bench.set("engine", python=interpreter)
    bench.set("training", learning_rate=1e-3)
    bench.set("acceptance", min_win_rate=0.0)
    code, output = bench.run()
    assert code == 0, output
    assert "vLLM exited or stopped answering" in output
    assert max(bench.judge.answered.values()) == 1
    with sqlite3.connect(bench.home / "home" / "cyclealign.db") as database:
        drawn = database.execute(
            "SELECT prompt_id, count(*), count(DISTINCT c.position) FROM candidate c JOIN round_prompt "
            "p USING (round_id, prompt_id) WHERE purpose = 'train' GROUP BY prompt_id"
        ).fetchall()
        made = database.execute(
            "SELECT sampling, content_hash FROM candidate LEFT JOIN adapter a ON a.id = adapter_id"
        ).fetchall()
    assert [(count, positions) for _, count, positions in drawn] == [(4, 4)] * 4
    for sampling, content_hash in made:
        assert json.loads(sampling)["adapter_hash"] == content_hash
        assert json.loads(sampling)["engine"].startswith("vllm ")
    attested = [json.loads(sampling)["attested_within"] for sampling, content_hash in made if content_hash]
    assert attested
    assert max(attested) < 1e-3
    assert not [
        each
        for each in psutil.process_iter(["cmdline"])
        if "supervisor.py" in " ".join(each.info["cmdline"] or []) and each.ppid() == psutil.Process().pid
    ]
