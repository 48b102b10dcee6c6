"""`cyclealign distill quantidce score FILE`: coherence of dialogues by a metric that was trained."""

import json
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from cyclealign.errors import BadConfig
from cyclealign.screen import console

JOB = "quantidce"


def score(file: Path | None, model: Path | None, as_json: bool) -> None:
    """Print a score from 1 to 5 for each dialogue of a file: JSON lines with ``context`` and ``response``.

    Args:
        model: the folder of a metric; None takes the newest one that was trained here.

    Raises:
        BadConfig: no file was named, or no metric is there.
        DistillError: the file or the folder cannot be read.
    """
    if file is None:
        raise BadConfig(
            'Name the file: `cyclealign distill quantidce score FILE`, {"context": [...], "response": "..."} a line.'
        )
    from cyclealign.distill.quantidce import data, predict, student

    pairs = data.read_pairs(file)
    found = predict.scores(student.load(model or newest_metric()), pairs)
    if as_json:
        rows = [
            {"context": each.context, "response": each.response, "score": round(float(value), 4)}
            for each, value in zip(pairs, found, strict=True)
        ]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table("score", "response", "after")
    for each, value in zip(pairs, found, strict=True):
        table.add_row(f"{value:.2f}", escape(each.response), escape(each.context[-1]))
    console.print(table)


def newest_metric() -> Path:
    """The metric of the newest finished run."""
    from cyclealign.store import Store

    with Store.open() as store:
        runs = [each for each in store.distillations() if each["job"] == JOB and each["finished_at"]]
    kept = [each["student_path"] for each in runs if each["student_path"] and Path(each["student_path"]).is_dir()]
    if not kept:
        raise BadConfig(
            "No metric was trained here yet. Train one with `cyclealign distill quantidce --demo` or with a config, or "
            "name the folder of one with --model."
        )
    return Path(kept[-1])
