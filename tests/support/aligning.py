"""Prepare a folder in which `cyclealign up` runs the real `align`: a tiny model, prompts, and a local judge."""

import json
import shutil
import subprocess
import sys
from typing import Any

from cyclealign.records import Review
from cyclealign.store import Store
from tests.support.launched import Launched
from tests.support.local_judge import LocalJudge
from tests.support.paths import ROOT
from tests.support.tiny import make_model

TASKS = ["bake bread", "fix a tyre", "use the pump", "use the oven", "pump it", "fix it", "bake it", "fix the oven"]


def prepare(site: Launched) -> None:
    """Put templates, a model and imported prompts where the runs of this site expect them."""
    shutil.copytree(ROOT / "prompts", site.folder / "prompts")
    make_model(site.folder / "model")
    questions = [f"\n\nHuman: how do i {TASKS[n % 8]} {n}\n\nAssistant: " for n in range(48)]
    rows = [{"chosen": question + "yes you can", "rejected": question + "no"} for question in questions]
    (site.folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = [sys.executable, "-m", "cyclealign.cli.main", "prompts", "import", "prompts.jsonl", "--set", "tiny"]
    subprocess.run([*command, "--held-out-share", "0.3"], cwd=site.folder, env=site.environment, check=True)


def config(judge: LocalJudge, **changes: Any) -> dict[str, Any]:
    """Return the settings of a round that takes seconds; paths are relative to the folder in which `up` was started."""
    return {
        "experiment": "ui",
        "rounds": 1,
        "prompts": {"set_name": "tiny", "per_round": 3, "held_out": 2},
        "policy": {"model": "model", "max_new_tokens": 8, "batch_prompts": 2, "max_truncated": 1.0},
        "judge": {
            "kind": "openai",
            "base_url": judge.url,
            "model": "local",
            "api_key_variable": "TEST_JUDGE_KEY",
            "retries": 0,
        },
        "training": {"process": "same", "prompts_per_step": 2},
        "evaluation": {"labelled_lists": 1},
        **changes,
    }


def drawn(site: Launched, experiment: str) -> list[set[str]]:
    """Return the ids of the training prompts of each finished round."""
    with Store.open(f"sqlite:///{site.home / 'cyclealign.db'}") as store:
        finished = [row["number"] for row in store.experiments.rounds(experiment) if row["verdict"] is not None]
        details = [store.history.detail(experiment, number) for number in finished]
    return [{prompt["id"] for prompt in row["prompts"] if prompt["purpose"] == "train"} for row in details]


def reviews(site: Launched, experiment: str) -> list[Review]:
    """Return the reviews of the experiment."""
    with Store.open(f"sqlite:///{site.home / 'cyclealign.db'}") as store:
        return store.reviews.find(experiment)
