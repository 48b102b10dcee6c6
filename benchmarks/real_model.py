"""One round of `align` with a real model on this machine, from its prompts to its verdict, by the command line.

``python -m benchmarks.real_model --home FOLDER [--json]`` makes Gemma 3 270M (`benchmarks.gemma`) in the home folder,
writes and imports the prompts of shared/data/oasst_en_100, runs ``cyclealign init`` and ``cyclealign run``, and reports
seconds, memory, agreement and verdict. Run again, it resumes. ``--model`` is another model folder, ``--set`` a setting.

**The judge is a rule**, behind a loopback address: more different words are better. The figures say that the loop runs
on a real model and at what cost, and nothing of the quality of its answers.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.configs import DATA, add_changes, as_toml, changed, parse_changes
from benchmarks.gemma import make_gemma
from benchmarks.process_memory import watch_memory
from cyclealign.store import Store
from tests.support.local_judge import LocalJudge

ROOT = Path(__file__).parents[1]
NAME = "real"
MAX_CHARACTERS = 200  # of a prompt
KEY = "RULE_JUDGE_KEY"
SIZES: dict[str, Any] = {
    "prompts.per_round": 16,
    "prompts.held_out": 8,
    "policy.answers": 4,
    "policy.max_new_tokens": 48,
    "policy.batch_prompts": 4,
    "training.tokens_at_once": 512,
    "training.learning_rate": 2e-4,
}
METRICS = ("agreement_tau", "agreement_lcs", "agreement_chance", "win_rate", "judge_steadiness", "kl_from_base")


def write_prompts(file: Path, count: int) -> Path:
    """Write the first short questions of the data set, one JSON object a line."""
    trees = map(json.loads, (DATA / "oasst_en_100" / "en_100_tree.jsonl").read_text(encoding="utf-8").splitlines())
    questions = [tree["prompt"]["text"] for tree in trees]
    short = [text for text in dict.fromkeys(questions) if len(text) <= MAX_CHARACTERS]
    file.write_text("\n".join(json.dumps({"prompt": text}) for text in short[:count]), encoding="utf-8")
    return file


def command(*arguments: str) -> list[str]:
    """Return the command line of ``cyclealign ARGUMENTS``."""
    return [sys.executable, "-m", "cyclealign.cli.main", *arguments]


def prepare(home: Path, model: Path, url: str, changes: Mapping[str, Any], environment: Mapping[str, str]) -> Path:
    """Return the config of the experiment, made by ``cyclealign init`` if there is none, with the judge's address."""
    config, sizes = home / f"{NAME}.toml", {**SIZES, **changes}
    if not config.exists():
        prompts = write_prompts(home / "prompts.jsonl", 2 * (sizes["prompts.per_round"] + sizes["prompts.held_out"]))
        judge = ("--judge-model", "rule", "--base-url", url, "--key-variable", KEY)
        init = command("init", NAME, "--model", str(model), "--prompts", str(prompts), *judge)
        subprocess.run(init, cwd=home, env=environment, check=True, stdout=sys.stderr)
    settings = changed(tomllib.loads(config.read_text(encoding="utf-8")), {**sizes, "judge.base_url": url})
    config.write_text(
        as_toml({"until": 1, **settings}), encoding="utf-8"
    )  # a finished round is not followed by another
    return config


def run_round(config: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Run the round, or what is left of it; return its seconds and peak memory."""
    started = time.perf_counter()
    process = subprocess.Popen(command("run", str(config)), cwd=config.parent, env=environment, stdout=sys.stderr)
    memory = watch_memory(process.pid)
    if process.wait():
        raise SystemExit(f"The round stopped with exit code {process.returncode}; run again to resume it.")
    return {"seconds": round(time.perf_counter() - started, 1), "peak_memory_mb": memory.result()}


def history(home: Path) -> dict[str, Any]:
    """Return the figures of the finished round."""
    with Store.open(f"sqlite:///{home / 'cyclealign.db'}") as store:
        detail = store.history.detail(NAME, 1)
    values = {metric["name"]: metric for metric in detail["metrics"]}
    return {
        "verdict": detail["summary"]["verdict"],
        "reason": detail["summary"]["reason"],
        "steps_seconds": {step["step"]: round(step["seconds"], 1) for step in detail["steps"]},
        "metrics": {
            name: {part: values[name][part] for part in ("value", "low", "high", "count")}
            for name in METRICS
            if name in values
        },
    }


def measure(home: Path, model: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Run the round and return all figures."""
    environment = {**os.environ, "CYCLEALIGN_HOME": str(home), KEY: "none-needed", "HF_HUB_OFFLINE": "1"}
    with LocalJudge() as judge:
        config = prepare(home, model, judge.url, changes, environment)
        figures = run_round(config, environment)
        requests = sum(judge.asked.values())
    settings = tomllib.loads(config.read_text(encoding="utf-8"))
    return {**figures, **history(home), "judge_requests": requests, "settings": settings}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="Keep model, prompts and run here, and resume the run.")
    parser.add_argument("--model", type=Path, help="A model folder; default: Gemma 3 270M, made in the home folder.")
    parser.add_argument("--json", action="store_true")
    add_changes(parser)
    given = parser.parse_args()
    home = (given.home or Path(tempfile.mkdtemp(prefix="cyclealign-real-"))).absolute()
    home.mkdir(parents=True, exist_ok=True)
    model = given.model.absolute() if given.model else make_gemma(home / "gemma")
    figures = measure(home, model, parse_changes(given.set))
    print(json.dumps(figures, indent=2) if given.json else as_text(figures))


def as_text(figures: Mapping[str, Any]) -> str:
    """Return the figures, one a line."""
    return "\n".join(f"{name}: {value}" for name, value in figures.items() if name != "settings")


if __name__ == "__main__":
    main()
