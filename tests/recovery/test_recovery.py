"""SIGKILL at many points of a round: rerunning resumes it, and the result is that of an uninterrupted run."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cyclealign.store import Store
from tests.support.local_judge import LocalJudge
from tests.support.paths import ROOT
from tests.support.tiny import make_model

pytestmark = pytest.mark.slow

# A reply that dies before its commit is asked again, and nothing else: one a kill, since one call is under way at most.
KILLS = [
    ["with a reply, in generation", 2],
    ["in generation, once a reply is stored", 1],
    *[["after commit", count] for count in (1, 2, 3, 4, 6, 9, 12)],
    ["in generation", 1],
    ["before commit", 2],
    ["in generation", 2],
    ["before commit", 5],
    ["after commit", 14],
    ["in training", 1],
    ["in training", 2],
    ["after commit", 5],
    ["before commit", 3],
    ["after commit", 3],
    ["after commit", 7],
    ["before commit", 9],
    ["after commit", 9],
]
CONFIG = """
experiment = "recovery"
rounds = 1
templates = "{prompts}"
[prompts]
set_name = "tiny"
per_round = 6
held_out = 4
[policy]
model = "{model}"
max_new_tokens = 8
batch_prompts = 2
max_truncated = 1.0
[judge]
kind = "openai"
base_url = "{judge}"
model = "local"
concurrency = 1
[training]
process = "same"
prompts_per_step = 2
[evaluation]
labelled_lists = 2
[health]
lists = 2
"""


class Bookkeeper(LocalJudge):
    """Notes every question whose answer was in the database when it was asked."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self.database = database
        self.asked_in_vain: list[object] = []

    def reply(self, raw: bytes) -> tuple[int, dict[str, Any]]:
        messages = json.loads(raw)["messages"]
        with closing(sqlite3.connect(self.database)) as connection:
            rows = connection.execute("SELECT messages FROM judge_call WHERE status = 'answered'").fetchall()
        if messages in [json.loads(text) for (text,) in rows]:
            self.asked_in_vain.append(messages)
        return super().reply(raw)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


def prepared(home: Path, model: Path, judge: LocalJudge, server: str) -> dict[str, str]:
    """A home with prompts and a config; the environment of the runs."""
    prompts = home / "prompts.jsonl"
    words = ["bake bread", "fix a tyre", "use the pump", "use the oven", "pump it", "fix it", "bake it", "fix the oven"]
    rows = [
        {
            "chosen": f"\n\nHuman: how do i {w} {n}\n\nAssistant: yes then {w}",
            "rejected": f"\n\nHuman: how do i {w} {n}\n\nAssistant: no",
        }
        for n, w in enumerate(words * 6)
    ]
    prompts.write_text("\n".join(map(json.dumps, rows)))
    (home / "run.toml").write_text(CONFIG.format(prompts=ROOT / "prompts", model=model, judge=judge.url))
    environment = {
        **os.environ,
        "CYCLEALIGN_HOME": str(home / "home"),
        "PREFECT_API_URL": server,
        "OPENAI_API_KEY": "test-key",
        "OMP_NUM_THREADS": "1",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
    }
    command = [sys.executable, "-m", "cyclealign.cli.main", "prompts", "import", str(prompts), "--set", "tiny"]
    subprocess.run([*command, "--held-out-share", "0.3"], env=environment, cwd=ROOT, check=True, capture_output=True)
    return environment


def drive(home: Path, environment: dict[str, str], kills: list[list[object]]) -> list[dict[str, object]]:
    (home / "kills.json").write_text(json.dumps(kills))
    command = [sys.executable, "-m", "tests.recovery.driver", str(home / "run.toml"), str(home / "kills.json")]
    log = home / "driver.log"
    # To a file: a pipe would stay open for as long as anything that a killed run had started.
    with log.open("w") as output:
        subprocess.run(command, env=environment, cwd=ROOT, stdout=output, stderr=output, check=False, timeout=400)
    outcomes = [json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"kill"')]
    assert outcomes, log.read_text()[-3000:]
    assert outcomes[-1]["code"] == 0, log.read_text()[-3000:]
    return outcomes


ROWS = {
    "candidate": "SELECT id, prompt_id, position, text, round(logprob_sum, 4), finish_reason FROM candidate",
    "judge_call": "SELECT key, purpose, subject_id, model, template_hash, status, reply FROM judge_call",
    "ranking": "SELECT r.prompt_id, r.ranked_by, p.place, p.candidate_id, r.steadiness FROM ranking r "
    "JOIN ranking_place p ON p.ranking_id = r.id",
    "agreement": "SELECT prompt_id, lcs_length, answers, round(chance_probability, 6), round(tau, 6) FROM agreement",
    "demonstration": "SELECT question, answers_best_first, promoted_in_round FROM demonstration_history",
    "adapter": "SELECT content_hash FROM adapter",
    "metric": "SELECT name, round(value, 4), round(low, 4), round(high, 4), count FROM metric",
    "round": "SELECT number, status, verdict, reason FROM round",
    "round_prompt": "SELECT prompt_id, position, purpose, set_aside_reason FROM round_prompt",
}


def everything(home: Path) -> dict[str, list[tuple[object, ...]]]:
    with Store.open(f"sqlite:///{home / 'home' / 'cyclealign.db'}") as store, store.engine.connect() as connection:
        return {name: sorted(map(tuple, connection.execute(sa.text(query))), key=repr) for name, query in ROWS.items()}


def test_a_run_killed_at_many_points_ends_as_an_undisturbed_one(model, prefect_server, tmp_path_factory):
    """Prevents lost or doubled rows, half-made adapters, and judge calls that are paid for twice."""
    ends, judges, outcomes = [], [], []
    for name, kills in (("undisturbed", []), ("killed", KILLS)):
        home = tmp_path_factory.mktemp(name)
        with Bookkeeper(home / "home" / "cyclealign.db") as judge:
            outcomes.append(drive(home, prepared(home, model, judge, prefect_server), kills))
        ends.append(everything(home))
        judges.append(judge)
    killed = [each for each in outcomes[1] if each["killed"]]
    assert len(killed) >= 10
    for name in ROWS:
        assert ends[0][name], f"the undisturbed run left no {name}"
        assert ends[1][name] == ends[0][name], name
    assert set(judges[1].answered) == set(judges[0].answered)
    assert [each["killed"] for each in outcomes[1][:2]] == [True, True], (
        "generation and judging were not at work at once"
    )
    assert judges[1].asked_in_vain == []
    repeated = sum(judges[1].answered.values()) - len(judges[1].answered)
    assert repeated <= len(killed)
