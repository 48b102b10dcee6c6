"""Score the coherence of dialogues by a trained metric."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cyclealign.cli.console import console
from cyclealign.errors import BadConfig

if TYPE_CHECKING:
    from cyclealign.distill.quantidce.data import Scored

JOB = "quantidce"
DEMO = {"demo", "made"}  # names of the demo's dialogues in stored configs, the current one first


class Chosen(NamedTuple):
    """A metric: its folder, and the run that trained it, if the history has one."""

    folder: Path
    run: int | None
    demo: bool = False

    @property
    def words(self) -> str:
        """Return the metric's folder and run as text."""
        return f"Metric: {self.folder}" + (f" (run {self.run})" if self.run is not None else "")


def score(file: Path, model: Path | None, as_json: bool) -> None:
    """Print a score from 1 to 5 for each dialogue of a file, and the metric that gave it.

    Args:
        file: JSON Lines, or a .parquet file, with ``context`` and ``response``.
        model: the folder of a metric; None: the newest metric trained here, one of the demo only if no other exists.

    Raises:
        BadConfig: no metric was trained here yet.
        DistillError: the file or the folder cannot be read.
    """
    from cyclealign.distill.quantidce import data, predict
    from cyclealign.distill.quantidce import model as student

    pairs = data.read_pairs(file)
    chosen = Chosen(model, None) if model else newest_metric()
    scores = [float(value) for value in predict.scores(student.load(chosen.folder), pairs)]
    if chosen.demo:
        Console(stderr=True).print(
            "Only metrics trained on the demo's dialogues exist here, whose vocabulary is small. Train one with a "
            "config."
        )
    if as_json:
        print(json.dumps(rows_of(pairs, scores, chosen), indent=2, ensure_ascii=False))
        return
    console.print(table_of(pairs, scores))
    console.print(escape(chosen.words), highlight=False, soft_wrap=True)


def rows_of(pairs: Sequence["Scored"], scores: Sequence[float], chosen: Chosen) -> list[dict[str, object]]:
    """Return the scores as JSON values; each row names its metric, so that rows of several files can be merged."""
    by = {"metric": str(chosen.folder), "run": chosen.run}
    return [
        {"context": pair.context, "response": pair.response, "score": round(value, 4), **by}
        for pair, value in zip(pairs, scores, strict=True)
    ]


def table_of(pairs: Sequence["Scored"], scores: Sequence[float]) -> Table:
    """Return a table of the scores, with a line per turn of the context."""
    table = Table("score", "response", "after", show_lines=True)
    for pair, value in zip(pairs, scores, strict=True):
        table.add_row(f"{value:.2f}", escape(pair.response), escape("\n".join(pair.context)))
    return table


def newest_metric() -> Chosen:
    """Return the metric of the newest finished run; runs on the demo's dialogues come last."""
    from cyclealign.store import Store

    with Store.open() as store:
        runs = [run for run in store.distillations.runs() if run["job"] == JOB and run["finished_at"]]
    kept = [
        Chosen(Path(run["student_path"]), run["id"], run["config"]["data"]["levels"] in DEMO)
        for run in runs
        if run["student_path"] and Path(run["student_path"]).is_dir()
    ]
    if not kept:
        raise BadConfig(
            "No metric was trained here yet. Train one with `cyclealign distill run quantidce --demo` or with a "
            "config, or name the folder of one with --model."
        )
    return max(kept, key=lambda metric: (not metric.demo, metric.run))
