"""The experiment of the kill tests: seconds a round, on the tiny model, and all that it must end with."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cyclealign.store import Store
from tests.support.paths import ROOT

CONFIG = """
experiment = "recovery"
rounds = {rounds}
until = {rounds}
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
process = "{process}"
prompts_per_step = 2
[acceptance]
min_win_rate = 0.0
[evaluation]
labelled_lists = 2
[health]
lists = 2
[database]
patience_seconds = {patience}
statement_seconds = 1.0
"""
WORDS = ["bake bread", "fix a tyre", "use the pump", "use the oven", "pump it", "fix it", "bake it", "fix the oven"]
ROWS = {
    "candidate": "SELECT id, prompt_id, position, text, logprob_sum, finish_reason FROM candidate",
    "judge_call": "SELECT key, purpose, subject_id, model, template_hash, status, reply FROM judge_call",
    "ranking": "SELECT r.prompt_id, r.ranked_by, p.place, p.candidate_id, r.steadiness FROM ranking r "
    "JOIN ranking_place p ON p.ranking_id = r.id",
    "agreement": "SELECT prompt_id, lcs_length, answers, chance_probability, tau FROM agreement",
    "demonstration": "SELECT question, answers_best_first, promoted_in_round FROM demonstration_history",
    "adapter": "SELECT id, content_hash FROM adapter",
    "metric": "SELECT round_id, name, value, low, high, count FROM metric",
    "round": "SELECT number, status, verdict, reason FROM round",
    "round_prompt": "SELECT round_id, prompt_id, position, purpose, set_aside_reason FROM round_prompt",
}
Rows = dict[str, list[str]]


def prepare(
    home: Path, model: Path, judge: str, rounds: int = 1, process: str = "same", patience: float = 600.0
) -> dict[str, str]:
    """Write prompts and a config into a home folder; return the variables of its runs."""
    home.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "chosen": f"\n\nHuman: how do i {words} {number}\n\nAssistant: yes then {words}",
            "rejected": f"\n\nHuman: how do i {words} {number}\n\nAssistant: no",
        }
        for number, words in enumerate(WORDS * 6)
    ]
    (home / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    values = {"prompts": ROOT / "prompts", "model": model, "judge": judge, "rounds": rounds}
    (home / "run.toml").write_text(CONFIG.format(process=process, patience=patience, **values))
    return {
        "CYCLEALIGN_HOME": str(home / "home"),
        "OPENAI_API_KEY": "test-key",
        "OMP_NUM_THREADS": "1",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
    }


def import_prompts(home: Path, environment: dict[str, str]) -> None:
    """Import the prompts into the database of these variables."""
    command = [sys.executable, "-m", "cyclealign.cli.main", "prompts", "import", str(home / "prompts.jsonl")]
    options = ["--set", "tiny", "--held-out-share", "0.3"]
    subprocess.run([*command, *options], env={**os.environ, **environment}, cwd=ROOT, check=True, capture_output=True)


def everything(url: str) -> Rows:
    """Return the rows that kills must not change, sorted; those of both kinds of database are written alike."""
    with Store.open(url) as store, store.engine.connect() as connection:
        return {
            name: sorted(json.dumps([_plain(value) for value in row]) for row in connection.execute(sa.text(query)))
            for name, query in ROWS.items()
        }


def _plain(value: Any) -> Any:
    """JSON columns come as text from SQLite; floats may differ in their last digits between kinds of a run."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
