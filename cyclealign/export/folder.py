"""Write an export to a folder: rows as JSON Lines, Parquet or a saved data set, and the data card."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from cyclealign.errors import BadConfig
from cyclealign.export import card, rows
from cyclealign.export.card import Origins
from cyclealign.export.columns import Column, Kind, arrow_schema, columns
from cyclealign.export.judged_lists import JudgedList, chosen_rounds, judged_lists
from cyclealign.files import appearing_folder
from cyclealign.store import Store

Format = Literal["jsonl", "parquet", "dataset"]
ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class ExportRequest:
    """The contents and the form of an export.

    Attributes:
        number: one round, of any verdict; None: all accepted rounds, or with ``all_rounds`` all.
        min_preference: minimum share of the verdicts on an exported pair; None: that of the round's settings.
        as_messages: SFT rows as ``messages`` instead of ``prompt`` and ``completion``.
        argilla: records of Argilla instead of TRL's forms.
    """

    kind: Kind
    experiment: str
    number: int | None = None
    all_rounds: bool = False
    format: Format = "jsonl"
    min_preference: float | None = None
    as_messages: bool = False
    argilla: bool = False


@dataclass(frozen=True)
class Exported:
    """An export: its folder, and the numbers of rows, lists, lists that people ranked, and rounds."""

    folder: Path
    rows: int
    lists: int
    by_people: int
    rounds: int


def export(store: Store, request: ExportRequest, folder: Path, overwrite: bool = False) -> Exported:
    """Write an experiment's judged lists to a folder, which appears whole.

    Raises:
        NoSuchExperiment: there is no such experiment or round.
        BadConfig: no row is left, options contradict each other, or the folder holds other files.
    """
    _check(request)
    folder = folder.resolve()
    check_folder(folder, overwrite)
    summaries = chosen_rounds(store, request.experiment, request.number, request.all_rounds)
    origins = Origins()
    with_tools = request.format != "jsonl" and _any_tools(store, request.experiment, summaries)
    lists = (origins.noted(one) for one in judged_lists(store, request.experiment, summaries))
    with appearing_folder(folder) as unfinished:
        written = _write(unfinished, request, _rows(request, lists, origins), with_tools)
        if not origins.rows:
            raise BadConfig(
                f"Nothing to export: the rounds of '{request.experiment}' that were chosen have no "
                + ("decided pairs. Lower --min-preference." if origins.lists else "judged lists.")
            )
        text = card.data_card(request.kind, request.experiment, _described(request), origins, written)
        (unfinished / card.NAME).write_text(text, encoding="utf-8")
    return Exported(folder, origins.rows, origins.lists, origins.by_people, len({key[0] for key in origins.rounds}))


def _check(request: ExportRequest) -> None:
    if request.min_preference is not None and request.kind != "preferences":
        raise BadConfig(f"--min-preference selects pairs; it has no effect on {request.kind}. Leave it out.")
    if request.as_messages and request.kind != "sft":
        raise BadConfig(f"--form messages is a form of sft; it has no effect on {request.kind}. Leave it out.")
    if request.argilla and (request.kind != "rankings" or request.format != "jsonl"):
        raise BadConfig("--for argilla writes rankings as records.json: export rankings, and leave out --format.")
    if request.number is not None and request.all_rounds:
        raise BadConfig("Give either --round or --all-rounds.")


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raise BadConfig unless the folder is new, empty, or an earlier export that may be replaced."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BadConfig(f"{folder} is a file. Name another folder with --output.")
    if not any(folder.iterdir()):
        return
    if not card.is_ours(folder):
        raise BadConfig(f"{folder} holds files that are not an export. Name another folder with --output.")
    if not overwrite:
        raise BadConfig(f"{folder} holds an earlier export. Replace it with --overwrite, or name another folder.")


def _any_tools(store: Store, experiment: str, summaries: Iterable[dict[str, Any]]) -> bool:
    """Return whether a turn of a prompt calls a tool or is a tool's result."""
    plans = (store.rounds.get(experiment, row["number"]).plan for row in summaries)
    return any(set(turn) - {"role", "content"} for plan in plans for prompt in plan.prompts for turn in prompt.messages)


def _described(request: ExportRequest) -> dict[str, Column]:
    return columns(request.kind, request.as_messages)


def _rows(request: ExportRequest, lists: Iterable[JudgedList], origins: Origins) -> Iterator[dict[str, Any]]:
    for ranked in lists:
        if request.argilla:
            made = iter([rows.argilla_record(ranked)])
        elif request.kind == "rankings":
            made = iter([rows.ranking_row(ranked)])
        elif request.kind == "preferences":
            made = rows.preference_rows(ranked, request.min_preference)
        else:
            made = iter([rows.sft_row(ranked, request.as_messages)])
        for row in made:
            origins.rows += 1
            yield row


def _write(folder: Path, request: ExportRequest, made: Iterator[dict[str, Any]], with_tools: bool) -> str:
    """Write the rows; return the name of the file, empty for a saved data set."""
    if request.argilla:
        return _write_array(folder / "records.json", made)
    if request.format == "jsonl":
        return _write_lines(folder / f"{request.kind}.jsonl", made)
    if request.format == "parquet":
        return _write_parquet(folder / f"{request.kind}.parquet", made, _described(request), with_tools)
    with tempfile.TemporaryDirectory(prefix="cyclealign-export-") as scratch:
        _write_parquet(Path(scratch) / "rows.parquet", made, _described(request), with_tools)
        _save_data_set(Path(scratch), folder)
    return ""


def _write_lines(path: Path, made: Iterator[dict[str, Any]]) -> str:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in made)
    return path.name


def _write_array(path: Path, made: Iterator[dict[str, Any]]) -> str:
    """Write a JSON array, which Argilla reads, a record a line."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("[")
        for separator, row in zip(chain(["\n"], iter(lambda: ",\n", None)), made, strict=False):
            file.write(separator + json.dumps(row, ensure_ascii=False, allow_nan=False))
        file.write("\n]\n")
    return path.name


def _write_parquet(path: Path, made: Iterator[dict[str, Any]], described: dict[str, Column], with_tools: bool) -> str:
    import pyarrow
    from pyarrow import parquet

    schema = arrow_schema(described, with_tools)
    with parquet.ParquetWriter(path, schema) as writer:
        while part := list(islice(made, ROWS_AT_ONCE)):
            writer.write_table(pyarrow.Table.from_pylist(part, schema=schema))
    return path.name


def _save_data_set(scratch: Path, folder: Path) -> None:
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    saved = Dataset.from_parquet(str(scratch / "rows.parquet"), cache_dir=str(scratch / "cache"))
    saved.save_to_disk(str(scratch / "saved"))
    for path in (scratch / "saved").iterdir():
        shutil.move(path, folder / path.name)
