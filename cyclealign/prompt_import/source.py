"""Rows of a source: a file, a folder that `datasets` saved, or a data set of the Hugging Face hub."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from cyclealign.errors import BadPrompts
from cyclealign.prompt_import.rows import SourceRow, refuse_repeated
from cyclealign.prompt_import.text_files import text_rows

_NAMED_LIKE_FILES = {".jsonl", ".json", ".gz", ".csv", ".tsv", ".txt", ".parquet", ".ndjson", ".arrow"}
_OTHER_KINDS = {
    **dict.fromkeys((".zip", ".zst", ".xz", ".bz2", ".7z", ".tar", ".tgz"), "Decompress it first"),
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), "Save it as CSV first"),
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".npz"), "Save it as Parquet or JSON Lines first"),
    ".arrow": "Give the folder that `datasets` saved",
}


def source_rows(source: str) -> Iterator[SourceRow]:
    """Yield the rows of a source with their places.

    Raises:
        BadPrompts: the source as a whole cannot be read; the message names it and the fix.
    """
    path = Path(source)
    if path.is_dir():
        yield from _numbered(source, _saved_data_set(path))
    elif path.is_file() and path.suffix.lower() in _OTHER_KINDS:
        raise BadPrompts(f"{source}: this kind of file is not read. {_OTHER_KINDS[path.suffix.lower()]}.")
    elif path.is_file():
        yield from _numbered(source, _parquet(path)) if _is_parquet(path) else text_rows(path)
    elif path.suffix in _NAMED_LIKE_FILES or path.exists():
        raise BadPrompts(f"{source}: no such file.")
    else:
        yield from _numbered(source, _hub_data_set(source))


def _numbered(source: str, rows: Iterable[Any]) -> Iterator[SourceRow]:
    return (SourceRow(f"{source}, row {number}", row) for number, row in enumerate(rows, 1))


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix == ".parquet" or file.read(4) == b"PAR1"


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        refuse_repeated(path, file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=1000):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise BadPrompts(f"{path}: cannot be read as Parquet ({error}). Write the file again.") from error


def _saved_data_set(folder: Path) -> Iterable[Any]:
    """Return the rows of a folder that ``Dataset.save_to_disk`` wrote."""
    splits = sorted(state.parent.name for state in folder.glob("*/state.json"))
    if (folder / "dataset_dict.json").is_file() or (splits and not (folder / "state.json").is_file()):
        raise BadPrompts(f"{folder}: holds the splits {', '.join(splits)}. Name one, such as {folder / splits[0]}.")
    if not (folder / "state.json").is_file():
        kinds = {".jsonl", ".json", ".csv", ".tsv", ".parquet"}
        files = sorted(path.name for path in islice(folder.iterdir(), 1000) if path.suffix in kinds)
        raise BadPrompts(
            f"{folder}: a folder, but not one that `datasets` saved. Name a file in it"
            + (f": {', '.join(files[:5])}." if files else ".")
        )
    from datasets import load_from_disk

    try:
        return (dict(row) for row in load_from_disk(str(folder)))
    except Exception as error:  # the library raises many kinds
        raise BadPrompts(f"{folder}: cannot be read as a data set ({type(error).__name__}: {error}).") from error


def _hub_data_set(source: str) -> Iterable[Any]:
    from datasets import load_dataset

    name, _, split = source.partition(":")
    try:
        rows = load_dataset(name, split=split or "train")
    except Exception as error:  # the hub's client raises many kinds
        raise BadPrompts(
            f"'{source}' is neither a local file nor a data set that can be fetched ({type(error).__name__}: {error})."
        ) from error
    return (dict(row) for row in rows)
