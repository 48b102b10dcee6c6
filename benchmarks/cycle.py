"""What the cycle is good for, in the demo world: arms with equal judge calls, compared seed by seed.

``python -m benchmarks.cycle --seeds 8 --json [--arms static,dynamic] [--home FOLDER] [--minutes 60]``. Each arm and
seed is one experiment of the app, run by its command line in a home of its own, two at a time. What is finished in the
folder is not repeated, so the command can be stopped and rerun. **Policy, judge and gold quality are simulated.**
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.configs import as_toml, changed
from benchmarks.cycle_arms import COMMON, Arm, find_arms
from benchmarks.cycle_figures import figures
from benchmarks.gold_judge import gold_judge, served
from cyclealign.demo.judge.process import SimulatedJudge
from cyclealign.demo.policy import demo_policy
from cyclealign.evaluation.intervals import of_runs
from cyclealign.records import SIMULATED_MODEL
from cyclealign.store import Store

ROOT = Path(__file__).parents[1]
KEY = "CYCLE_JUDGE_KEY"  # the judges of this benchmark ask for none
EXPERIMENT = "cycle"  # the same in all arms: random draws follow from it
LAST = ("label_accuracy", "policy_accuracy", "agreed_accuracy", "agreement_tau", "kl_from_base", "answer_tokens")
Values = dict[str, Any]


def run_arm(arm: Arm, seed: int, home: Path) -> Values:
    """Return the figures of one experiment, running it unless they are in the folder."""
    result = home / f"{arm.name}-{seed}.json"
    if not result.is_file():
        own = home / f"{arm.name}-{seed}"
        own.mkdir(exist_ok=True)
        if not (own / "models").exists():
            (own / "models").symlink_to(home / "models")
        run_experiment(arm, seed, own)
        with Store.open(f"sqlite:///{own / 'cyclealign.db'}") as store:
            found = figures(store, EXPERIMENT)
        result.write_text(json.dumps(found))
    loaded: Values = json.loads(result.read_text())
    return loaded


def run_experiment(arm: Arm, seed: int, home: Path) -> None:
    """Run the arm's experiment by the app's own command line; it resumes one that was stopped."""
    config = tomllib.loads((ROOT / "flows" / "configs" / "demo.toml").read_text())
    config = changed(config, {**COMMON, **arm.changes})
    config.update(
        experiment=EXPERIMENT, seed=seed, rounds=arm.rounds, until=arm.rounds, templates=str(ROOT / "prompts")
    )
    with ExitStack() as stack:
        bias = config["judge"]["position_bias"]
        if arm.noise is not None:
            judge = stack.enter_context(SimulatedJudge(position_bias=bias, noise=arm.noise))
            config["judge"] = at_address(judge.base_url, config["judge"])
        elif arm.gold is not None:
            config["judge"] = at_address(stack.enter_context(served(gold_judge(*arm.gold))), config["judge"])
        path = home / "cycle.toml"
        path.write_text(as_toml(config))
        command = [sys.executable, "-m", "benchmarks.cycle_run", arm.demonstrations, str(path)]
        environment = {**os.environ, "CYCLEALIGN_HOME": str(home), "OMP_NUM_THREADS": "1", KEY: "unused"}
        with (home / "run.log").open("ab") as log:
            subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=log, stderr=log)


def at_address(base_url: str, judge: Mapping[str, Any]) -> Values:
    """Return the settings of a judge at an address, which has its place bias by itself."""
    others = {name: value for name, value in judge.items() if name not in ("kind", "position_bias")}
    return {**others, "kind": "openai", "base_url": base_url, "model": SIMULATED_MODEL, "api_key_variable": KEY}


def measure(arms: Sequence[Arm], seeds: Sequence[int], home: Path, until: float) -> dict[str, list[Values | None]]:
    """Return the figures by arm and seed; None for those that were not begun before ``until``."""
    demo_policy(home / "models")

    def run(task: tuple[int, Arm]) -> Values | None:
        seed, arm = task
        done = (home / f"{arm.name}-{seed}.json").is_file()
        return run_arm(arm, seed, home) if done or time.monotonic() < until else None

    tasks = [(seed, arm) for seed in seeds for arm in arms]  # all arms of a seed before the next: pairs stay whole
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, tasks))
    by_arm: dict[str, list[Values | None]] = {arm.name: [] for arm in arms}
    for (_, arm), result in zip(tasks, results, strict=True):
        by_arm[arm.name].append(result)
    return by_arm


def report(by_arm: Mapping[str, Sequence[Values | None]]) -> dict[str, Values]:
    """Return a row per arm: means with 95 % intervals over seeds, and differences from the first arm, paired."""
    first = next(iter(by_arm.values()))
    return {name: row(results, first) for name, results in by_arm.items() if any(results)}


def row(results: Sequence[Values | None], first: Sequence[Values | None]) -> Values:
    """Return the figures of an arm."""
    done = [one for one in results if one]
    pairs = [(one, other) for one, other in zip(results, first, strict=True) if one and other]
    values: Values = {
        "seeds": len(done),
        "gold_base": interval([one["gold_base"] for one in done]),
        "gold": interval([one["gold_by_round"][-1] for one in done]),
        "gain": interval([one["gold_by_round"][-1] - one["gold_base"] for one in done]),
        "gain_over_first_arm": interval([a["gold_by_round"][-1] - b["gold_by_round"][-1] for a, b in pairs]),
        "gold_by_round": [
            interval(list(column)) for column in zip(*(one["gold_by_round"] for one in done), strict=True)
        ],
        "label_accuracy_by_round": by_round(done, "label_accuracy"),
        "label_accuracy_over_first_arm": interval(
            [mean_of(a, "label_accuracy") - mean_of(b, "label_accuracy") for a, b in pairs]
        ),
        "dynamic_shown": fmean(mean_of(one, "dynamic_shown") for one in done),
        "accepted": fmean(fmean(each["verdict"] == "accepted" for each in one["rounds"]) for one in done),
        "calls": fmean(one["calls"] for one in done),
        "seconds": fmean(one["seconds"] for one in done),
    }
    last = [one["rounds"][-1] for one in done]
    return values | {name: interval([each[name] for each in last if name in each]) for name in LAST}


def by_round(done: Sequence[Values], name: str) -> list[list[float | None]]:
    """Return mean and interval of a figure in each round."""
    columns = zip(*([each[name] for each in one["rounds"]] for one in done), strict=True)
    return [interval(list(column)) for column in columns]


def mean_of(one: Values, name: str) -> float:
    """Return the mean of a figure over the rounds in which demonstrations may differ: those after the first, if any."""
    rounds = one["rounds"][1:] or one["rounds"]
    return fmean(each[name] for each in rounds)


def interval(values: Sequence[float]) -> list[float | None]:
    """Return mean, lower and upper bound over seeds, by Student's t."""
    return list(of_runs(values)) if values else [None, None, None]


def as_markdown(rows: Mapping[str, Values]) -> str:
    """Return the main figures as a table."""
    heads = (
        "gain",
        "gain_over_first_arm",
        "label_accuracy_over_first_arm",
        "label_accuracy",
        "agreed_accuracy",
        "answer_tokens",
    )
    lines = [
        "| arm | seeds | " + " | ".join(name.replace("_", " ") for name in heads) + " |",
        "|---" * (len(heads) + 2) + "|",
    ]
    for name, values in rows.items():
        cells = [cell(values[head]) for head in heads]
        lines.append(f"| {name} | {values['seeds']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(values: Sequence[float | None]) -> str:
    """Format a mean with its interval."""
    mean, low, high = values
    if mean is None:
        return "n/a"
    return f"{mean:.3f}" if low is None or high is None else f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--arms", default="", help="Comma-separated; default: all. The first arm is always included.")
    parser.add_argument("--home", type=Path, help="Keep the runs here; runs that are there are not repeated.")
    parser.add_argument("--minutes", type=float, default=60, help="Begin no run after this time; rerun to go on.")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    home = (given.home or Path(tempfile.mkdtemp(prefix="cyclealign-cycle-"))).absolute()
    home.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + given.minutes * 60
    by_arm = measure(find_arms(given.arms), range(1, given.seeds + 1), home, until)
    rows = report(by_arm)
    print(json.dumps({"common": dict(COMMON), "arms": rows}, indent=2) if given.json else as_markdown(rows))
    if missing := sum(result is None for results in by_arm.values() for result in results):
        print(f"{missing} runs are left: rerun with --home {home}", file=sys.stderr)


if __name__ == "__main__":
    main()
