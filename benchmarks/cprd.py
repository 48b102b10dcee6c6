"""CPRD on emoji and their names, or in the drawn world: retrieval, and graded overlap of what pairs are about.

``python -m benchmarks.cprd [--world emoji|demo] [--runs N] [--json] [--data FOLDER]`` runs the job `cprd`.
``demo`` is the demo's world with more runs. For ``emoji`` each run has other training and test emoji; the students of
its arms start from one that was made for it (`benchmarks.emoji`), and the teacher is a *stand-in for a cross-encoder*,
which reads the name and keywords of the image's emoji. The arms of KL are taught by *saturated* scores, too: the same
order, logits four times as large. What CPRD learns of them is the same where the threshold goes along, which is tested
exactly in tests/distill/cprd. No network. Intervals are over runs, differences paired.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from benchmarks import emoji
from benchmarks.configs import Settings, add_changes, as_toml, changed, changes_in
from cyclealign.distill.cprd import evaluate
from cyclealign.distill.cprd.config import DataSettings, Loss

ROOT = Path(__file__).parents[1]
ARMS: tuple[str, ...] = get_args(Loss)
Figures = dict[str, dict[str, float]]  # of each arm, by name
TRAIN, TEST, SIDE = 1_400, 300, 48  # 1,344 are left to train on

EMOJI: Settings = {
    "runs": 1,
    "data": {"train": TRAIN, "test": TEST, "image_size": SIDE},
    "student": {"epochs": 5, "learning_rate": 2e-4},
    # What the teacher is certain about is no valid negative.
    "distillation": {"num_hard_negatives": 32, "threshold": emoji.EXTREME, "weight": 0.2},
}


@dataclass(frozen=True)
class Trial:
    """Which arms are taught the emoji, with which changes of `EMOJI`, and where everything is kept."""

    home: Path
    arms: tuple[str, ...]
    changes: Settings

    def runs(self, source: Path, seeds: Iterable[int]) -> Iterator[Figures]:
        """Figures of each arm, for one split of the emoji after another."""
        folder = self.home / "emoji"
        folder.mkdir(parents=True, exist_ok=True)
        captions = emoji.unpack(source, folder)
        settings = DataSettings(source=str(folder), train=TRAIN, test=TEST, image_size=SIDE)
        for seed in seeds:
            made = emoji.prepared(self.split(seed), captions, settings, seed)
            found = self.taught(seed, made.start, made.scores, self.arms)
            by_scores = [arm for arm in self.arms if arm.startswith("kl")]
            saturated = self.taught(seed, made.start, made.saturated, by_scores) if by_scores else {}
            yield found | {f"{arm}, saturated": figures for arm, figures in saturated.items()}

    def split(self, seed: int) -> Path:
        """Where what the job is given for a split lies."""
        return self.home / f"split-{seed}"

    def taught(self, seed: int, start: Path, scores: Path, arms: Sequence[str]) -> Figures:
        """Run the job on a split of the emoji; the figures of each arm."""
        settings = changed({"seed": seed, "arms": list(arms), **EMOJI}, self.changes)
        settings["data"]["source"], settings["student"]["model"] = str(self.home / "emoji"), str(start)
        settings["teacher"] = {"model": str(scores)}
        config = self.home / f"emoji-{seed}-{scores.stem}.toml"
        config.write_text(as_toml(settings))
        done = subprocess.run(
            command(config, True), env=environment(self.home), cwd=ROOT, check=True, stdout=subprocess.PIPE
        )
        found: Figures = {}
        for each in json.loads(done.stdout)["measures"]:
            if " above it, " not in each["name"]:
                found.setdefault(each["arm"], {})[each["name"]] = each["value"]
        return found


def on_emoji(trial: Trial, source: Path, seeds: range, as_json: bool) -> int:
    """Run all splits and print means and paired differences."""
    if not source.is_dir():
        sys.exit(f"Skipped: {source} is not there.")
    found = list(trial.runs(source, seeds))
    measures = evaluate.measures({arm: [run[arm] for run in found] for arm in found[0]})
    if as_json:
        teachers = {
            name: {str(seed): emoji.spread(trial.split(seed) / name) for seed in seeds} for name in emoji.SCORES
        }
        print(json.dumps({"teachers": teachers, "runs": found, "measures": list(map(asdict, measures))}, indent=2))
    else:
        print("\n".join(f"{each.arm}: {each.name} {each.value:.3f} [{each.low}, {each.high}]" for each in measures))
    return 0


def drawn_config(runs: int, seed: int) -> str:
    """The demo's config with as many runs, and other scenes for another seed."""
    demo = (ROOT / "flows" / "configs" / "cprd-demo.toml").read_text(encoding="utf-8")
    return re.sub(r"(?m)^runs = .*$", f"runs = {runs}\nseed = {seed}", demo)


def on_drawn(home: Path, runs: int, seed: int, as_json: bool) -> int:
    """Run the job once, with as many runs of its own."""
    config = home / "cprd.toml"
    config.write_text(drawn_config(runs, seed))
    return subprocess.run(command(config, as_json), cwd=ROOT, env=environment(home), check=False).returncode


def command(config: Path, as_json: bool) -> list[str]:
    """The job's command line."""
    return [sys.executable, "-m", "cyclealign.cli.main", "distill", "run", "cprd", str(config), *(["--json"] * as_json)]


def environment(home: Path) -> dict[str, str]:
    """What the job runs in."""
    return {**os.environ, "CYCLEALIGN_HOME": str(home), "HF_HUB_OFFLINE": "1"}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=("emoji", "demo"), default="emoji")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="Of the drawn world; of the first split of the emoji.")
    parser.add_argument("--home", type=Path, help="Keep the runs here; what is there is not done again.")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, help="Of the emoji.")
    add_changes(parser)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cyclealign-cprd-") as temporary:
        home = (given.home or Path(temporary)).absolute()
        home.mkdir(parents=True, exist_ok=True)
        if given.world == "demo":
            if given.set or set(given.arms) < set(ARMS):
                sys.exit("--set and --arms are for the emoji.")
            sys.exit(on_drawn(home, given.runs, given.seed, given.json))
        seeds = range(given.seed, given.seed + given.runs)
        trial = Trial(home, tuple(given.arms), changes_in(given.set))
        sys.exit(on_emoji(trial, given.data / "noto_emoji", seeds, given.json))


if __name__ == "__main__":
    main()
