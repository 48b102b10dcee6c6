"""The demo over several seeds: gold quality by round, and the judge's accuracy by what it is shown.

``python -m benchmarks.evidence [--seeds 5] [--json]`` runs the flow that `make demo` runs, one experiment a seed, in a
home folder of its own. Demo world and judge are simulated: the figures say that the loop works, and nothing of models.
``--set SECTION.KEY=VALUE`` changes a setting of the demo, to compare (``training.target="agreement"``).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.configs import add_changes, as_toml, changed, parse_changes
from cyclealign.store import Store

ROOT = Path(__file__).parents[1]
# Two-sided 95 % quantiles of Student's t, by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def run_seed(seed: int, home: Path, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rounds of one seed, each with its metrics."""
    config = tomllib.loads((ROOT / "flows" / "configs" / "demo.toml").read_text())
    config.update(experiment=f"demo-{seed}", seed=seed, templates=str(ROOT / "prompts"))
    path = home / f"demo-{seed}.toml"
    path.write_text(as_toml(changed(config, changes)))
    command = [sys.executable, "-m", "cyclealign.cli.main", "run", str(path)]
    environment = {**os.environ, "CYCLEALIGN_HOME": str(home)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=sys.stderr)
    with Store.open(f"sqlite:///{home / 'cyclealign.db'}") as store:
        return store.experiments.rounds(f"demo-{seed}")


def gold_by_round(rounds: Sequence[Mapping[str, Any]]) -> list[float]:
    """Gold quality of the base and of the policy that each round left: the parent's, where it was rolled back."""
    values = [rounds[0]["metrics"]["gold_quality_parent"].value]
    for each in rounds:
        kept = "gold_quality" if each["verdict"] == "accepted" else "gold_quality_parent"
        values.append(each["metrics"][kept].value)
    return values


def metric(name: str, number: int) -> Callable[[Sequence[Mapping[str, Any]]], float]:
    """Reads a metric of the round with this index; a next set without dynamic demonstrations is the written one."""

    def read(rounds: Sequence[Mapping[str, Any]]) -> float:
        measured = rounds[number]["metrics"]
        if name == "judge_accuracy_next" and name not in measured:
            return float(measured["judge_accuracy_static"].value)
        return float(measured[name].value)

    return read


def summary(values: Sequence[float]) -> dict[str, float]:
    """Mean over seeds with its 95 % interval by Student's t."""
    half = STUDENT[len(values) - 1] * stdev(values) / sqrt(len(values)) if len(values) > 1 else float("nan")
    return {"mean": fmean(values), "low": fmean(values) - half, "high": fmean(values) + half, "seeds": len(values)}


def measure(seeds: Sequence[int], home: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return all figures of docs/evidence.md."""
    runs = [run_seed(seed, home, changes) for seed in seeds]
    last = min(len(rounds) for rounds in runs)
    golds = list(zip(*[gold_by_round(rounds)[: last + 1] for rounds in runs], strict=True))
    names = ("judge_accuracy_none", "judge_accuracy_static", "judge_accuracy", "judge_accuracy_next")
    more = (
        "agreement_tau",
        "agreement_lcs",
        "agreement_chance",
        "win_rate",
        "judge_steadiness",
        "kl_from_base",
        "answer_tokens",
    )
    return {
        "gold_quality": [summary(values) for values in golds],
        "gold_gain": summary([values[-1] - values[0] for values in zip(*golds, strict=True)]),
        "by_round": [
            {name: summary([metric(name, number)(rounds) for rounds in runs]) for name in (*names, *more)}
            for number in range(last)
        ],
        "accepted": [[each["verdict"] == "accepted" for each in rounds] for rounds in runs],
        "seconds": summary([sum(each["seconds"] for each in rounds) for rounds in runs]),
        "judge_calls": summary([float(sum(each["judge_calls"] for each in rounds)) for rounds in runs]),
        "settings": dict(changes),
        "seeds": list(seeds),
    }


def cell(found: Mapping[str, float]) -> str:
    """Format a mean with its interval."""
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def as_markdown(found: Mapping[str, Any]) -> str:
    """Return the tables of docs/evidence.md."""
    rounds = range(1, len(found["by_round"]) + 1)
    rows = ["| | base | " + " | ".join(f"round {number}" for number in rounds) + " |", "|---" * (len(rounds) + 2) + "|"]
    rows.append("| gold quality of the policy | " + " | ".join(map(cell, found["gold_quality"])) + " |")
    labels = {
        "judge_accuracy_none": "judge's accuracy, no demonstrations",
        "judge_accuracy_static": "... static demonstrations",
        "judge_accuracy": "... those that the round showed",
        "judge_accuracy_next": "... static + dynamic ones after the round",
        "agreement_tau": "agreement, Kendall tau (chance: 0)",
        "agreement_lcs": "agreement, LCS share",
        "agreement_chance": "... of two random orders",
        "win_rate": "win rate against the parent",
        "judge_steadiness": "judge's steadiness",
        "kl_from_base": "KL from the base, nats per token",
        "answer_tokens": "length of answers, tokens",
    }
    for name, label in labels.items():
        rows.append(f"| {label} | | " + " | ".join(cell(each[name]) for each in found["by_round"]) + " |")
    return "\n".join(rows)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--home", type=Path, help="Keep the runs here; runs that are there are not repeated.")
    add_changes(parser)
    given = parser.parse_args()
    home = given.home or Path(tempfile.mkdtemp(prefix="cyclealign-evidence-"))
    home.mkdir(parents=True, exist_ok=True)
    found = measure(range(1, given.seeds + 1), home.absolute(), parse_changes(given.set))
    print(json.dumps(found, indent=2) if given.json else as_markdown(found))


if __name__ == "__main__":
    main()
