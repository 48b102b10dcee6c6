"""PLD on handwritten characters (Omniglot, 242 classes), compared with CE, KD, DIST, DKD and ListMLE.

``python -m benchmarks.pld [--json] [--home FOLDER]`` runs the job `pld` in a home folder of its own (``--home`` keeps
it and reuses finished work). Every arm tries three settings on the validation items; then five students of each arm,
which share initial weights and batches across arms, are evaluated on the test items. Exits with 1 if PLD is not above
CE and KD with 95 % confidence. DIST and DKD are reported only.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.configs import DATA, ROOT

CONFIG = ROOT / "benchmarks" / "pld.toml"
OMNIGLOT = DATA / "omniglot_small"
GATED = ("ce", "kd")


def measure(home: Path, data: Path, runs: int, seed: int) -> dict[str, Any]:
    """Return the finished run, with the selected settings of each arm."""
    os.environ.update(CYCLEALIGN_HOME=str(home), OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    from rich.console import Console

    from cyclealign.cli.progress_bars import live_progress
    from cyclealign.config import load_settings
    from cyclealign.distill.pld.config import Config
    from cyclealign.distill.registry import JOBS
    from cyclealign.distill.run import run_job
    from cyclealign.store import Store

    config = load_settings(CONFIG, Config)
    paths = tuple(str(path) for path in sorted(data.glob("*.zip")))
    config = config.model_copy(
        update={"data": config.data.model_copy(update={"paths": paths}), "runs": runs, "seed": seed}
    )
    with live_progress(Console(stderr=True)):
        run_id = run_job(JOBS["pld"], config)
    with Store.open() as store:
        (run,) = [row for row in store.distillations.runs("pld") if row["id"] == run_id]
    chosen = {row["arm"]: int(row["value"]) for row in run["measures"] if row["name"] == "chosen try"}
    settings = {arm.loss: dict(arm.tries[chosen[arm.loss] - 1]) for arm in config.arms}
    return {**run, "chosen": settings, "gates": gates(run["measures"])}


def gates(measures: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Return whether PLD is above each gated arm: the whole interval of the paired difference is above 0."""
    above = {row["arm"]: row for row in measures if row["name"] == "PLD above it"}
    return {f"PLD above {arm}": bool(above[arm]["low"] > 0) for arm in GATED}


def as_markdown(run: Mapping[str, Any]) -> str:
    """Return the table of docs/methods.md."""
    from cyclealign.distill.report import measure_table
    from cyclealign.evaluation.report import markdown_table
    from cyclealign.records.distillation import arm_metric

    names = ("top-1", "PLD above it", "top-5")
    measures = [arm_metric(row) for row in run["measures"] if row["name"] in names]
    chosen = {
        arm: ", ".join(f"{key} {value:g}" for key, value in settings.items()) for arm, settings in run["chosen"].items()
    }
    rows = [{**row, "chosen": chosen.get(row["arm"], "-")} for row in measure_table(measures)]
    return markdown_table(rows)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="Another seed gives another split and another teacher.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--home", type=Path, help="Keep the run here, and reuse finished work.")
    parser.add_argument("--data", type=Path, default=OMNIGLOT, help="Folder of Omniglot's .zip files.")
    options = parser.parse_args()
    if not list(options.data.glob("*.zip")):
        reason = f"skipped: no .zip files of Omniglot in {options.data} (name the folder with --data)"
        print(json.dumps({"skipped": reason}) if options.json else reason)
        return
    home = options.home or Path(tempfile.mkdtemp(prefix="cyclealign-pld-"))
    run = measure(home.absolute(), options.data.absolute(), options.runs, options.seed)
    print(json.dumps(run, indent=2) if options.json else as_markdown(run))
    sys.exit(0 if all(run["gates"].values()) else 1)


if __name__ == "__main__":
    main()
