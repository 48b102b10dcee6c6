"""CPRD on emoji and their names, or on the demo data: retrieval, and graded overlap of the content of pairs.

``python -m benchmarks.cprd [--world emoji|demo] [--runs N] [--json] [--data FOLDER]`` runs the job `cprd`.
``demo`` runs the demo with more runs. For ``emoji``, each run has another split of the emoji; the students of its arms
start from one that was trained on the split (`benchmarks.emoji`), and the teacher is a *stand-in for a cross-encoder*
that reads the name and keywords of the image's emoji. The KL arms are also trained on *saturated* scores: the same
order, logits four times as large. CPRD is invariant to this if the threshold is scaled too, which tests/distill/cprd
tests exactly. No network. Intervals are over runs, differences are paired.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from benchmarks import emoji
from benchmarks.configs import (
    DATA,
    ROOT,
    Settings,
    add_changes,
    as_toml,
    changed,
    job_command,
    job_environment,
    parse_changes,
    run_in_process,
)
from cyclealign.distill.cprd import evaluate
from cyclealign.distill.cprd.config import DataSettings, Loss
from cyclealign.records.distillation import arm_values

ARMS: tuple[str, ...] = get_args(Loss)
Figures = dict[str, dict[str, float]]  # arm -> measure -> value
TRAIN, TEST, SIDE = 1_400, 300, 48  # of the training emoji, 1,344 remain

EMOJI: Settings = {
    "runs": 1,
    "data": {"train": TRAIN, "test": TEST, "image_size": SIDE},
    "student": {"epochs": 5, "learning_rate": 2e-4},
    # Pairs that the teacher is certain about are not valid negatives.
    "distillation": {"num_hard_negatives": 32, "threshold": emoji.EXTREME, "weight": 0.2},
}


@dataclass(frozen=True)
class Trial:
    """Runs on emoji: the arms, the changes of `EMOJI`, and the folder of all files."""

    home: Path
    arms: tuple[str, ...]
    changes: Settings

    def runs(self, source: Path, seeds: Iterable[int]) -> Iterator[Figures]:
        """Yield the figures of each arm, for one split of the emoji after another."""
        folder = self.home / "emoji"
        folder.mkdir(parents=True, exist_ok=True)
        captions = emoji.unpack(source, folder)
        settings = DataSettings(source=str(folder), train=TRAIN, test=TEST, image_size=SIDE)
        for seed in seeds:
            inputs = emoji.prepared(self.split(seed), captions, settings, seed)
            figures = self.run(seed, inputs.start, inputs.scores, self.arms)
            kl_arms = [arm for arm in self.arms if arm.startswith("kl")]
            saturated = self.run(seed, inputs.start, inputs.saturated, kl_arms) if kl_arms else {}
            yield figures | {f"{arm}, saturated": values for arm, values in saturated.items()}

    def split(self, seed: int) -> Path:
        """Return the folder of the job's inputs of a split."""
        return self.home / f"split-{seed}"

    def run(self, seed: int, start: Path, scores: Path, arms: Sequence[str]) -> Figures:
        """Run the job on a split of the emoji; return the figures of each arm."""
        settings = changed({"seed": seed, "arms": list(arms), **EMOJI}, self.changes)
        settings["data"]["source"], settings["student"]["model"] = str(self.home / "emoji"), str(start)
        settings["teacher"] = {"model": str(scores)}
        config = self.home / f"emoji-{seed}-{scores.stem}.toml"
        config.write_text(as_toml(settings))
        figures: Figures = {}
        for row in run_in_process("cprd", config, self.home)["measures"]:
            if " above it, " not in row["name"]:
                figures.setdefault(row["arm"], {})[row["name"]] = row["value"]
        return figures


def on_emoji(trial: Trial, source: Path, seeds: range, as_json: bool) -> int:
    """Run all splits and print means and paired differences."""
    if not source.is_dir():
        sys.exit(f"Skipped: {source} is missing.")
    runs = list(trial.runs(source, seeds))
    measures = evaluate.measures({arm: [run[arm] for run in runs] for arm in runs[0]})
    if as_json:
        teachers = {
            name: {str(seed): emoji.spread(trial.split(seed) / name) for seed in seeds} for name in emoji.SCORES
        }
        print(json.dumps({"teachers": teachers, "runs": runs, "measures": list(map(arm_values, measures))}, indent=2))
    else:
        print("\n".join(f"{row.arm}: {row.name} {row.value:.3f} [{row.low}, {row.high}]" for row in measures))
    return 0


def demo_config(runs: int, seed: int) -> str:
    """Return the demo's config with this number of runs; another seed draws other scenes."""
    demo = (ROOT / "flows" / "configs" / "cprd-demo.toml").read_text(encoding="utf-8")
    return re.sub(r"(?m)^runs = .*$", f"runs = {runs}\nseed = {seed}", demo)


def on_demo(home: Path, runs: int, seed: int, as_json: bool) -> int:
    """Run the job once, with this number of runs of its own."""
    config = home / "cprd.toml"
    config.write_text(demo_config(runs, seed))
    command = job_command("cprd", config, as_json)
    return subprocess.run(command, cwd=ROOT, env=job_environment(home), check=False).returncode


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=("emoji", "demo"), default="emoji")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="Of the demo data, or of the first split of the emoji.")
    parser.add_argument("--home", type=Path, help="Keep the runs here, and reuse finished ones.")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, help="Arms for the emoji.")
    add_changes(parser)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cyclealign-cprd-") as temporary:
        home = (options.home or Path(temporary)).absolute()
        home.mkdir(parents=True, exist_ok=True)
        if options.world == "demo":
            if options.set or set(options.arms) < set(ARMS):
                sys.exit("--set and --arms apply to the emoji only.")
            sys.exit(on_demo(home, options.runs, options.seed, options.json))
        seeds = range(options.seed, options.seed + options.runs)
        trial = Trial(home, tuple(options.arms), parse_changes(options.set))
        sys.exit(on_emoji(trial, options.data / "noto_emoji", seeds, options.json))


if __name__ == "__main__":
    main()
