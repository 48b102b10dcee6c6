"""Rows of files here, and of Hugging Face data sets, and what both are known by."""

import csv
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cyclealign.errors import DistillError
from cyclealign.files import hash_of_file, hash_of_folder

READERS = {".txt": "text", ".jsonl": "json", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}


def table(address: str, config: str | None = None, split: str | None = None) -> Any:
    """A Hugging Face `Dataset` of a file here (.gz too) or of ``name[:split]`` on the hub.

    All cells of a .csv or .tsv file are texts; an empty one is None.

    Raises:
        DistillError: neither could be read.
    """
    from datasets import disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetGenerationError

    disable_progress_bars()  # they would tear the terminal's own
    path = Path(address)
    kind = READERS.get(path.suffix if path.suffix != ".gz" else path.with_suffix("").suffix)
    try:
        if kind and path.is_file():
            with _whole_lines():
                more = _as_texts(path) if kind == "csv" else {}
                return load_dataset(kind, data_files=str(path), split="train", **more)
        name, _, named_split = address.partition(":")
        return load_dataset(name, config, split=split or named_split or "train")
    except Exception as error:  # the library and the hub's client raise many kinds
        reason = (error.__cause__ if isinstance(error, DatasetGenerationError) else None) or error
        first_line = (str(reason).strip().splitlines() or [""])[0]
        raise DistillError(
            f"'{address}' is neither a file that can be read here ({', '.join(READERS)}) nor a data set that could be "
            f"fetched ({type(reason).__name__}: {first_line})."
        ) from error


def _as_texts(path: Path) -> dict[str, Any]:
    """How a .csv or .tsv file is read so that no cell is taken for a number, or for a missing one as "NA" would be."""
    from datasets import Features, Value
    from pandas import read_csv

    options: dict[str, Any] = {"keep_default_na": False, "na_values": [""], "index_col": False}
    if ".tsv" in path.suffixes:
        options |= {"delimiter": "\t", "quoting": csv.QUOTE_NONE}  # a quotation mark is a sign like others there
    names = read_csv(path, nrows=0, **options).columns
    return {**options, "features": Features({name: Value("string") for name in names})}


@contextmanager
def _whole_lines() -> Iterator[None]:
    """Lines with more cells than the heading are an error; pandas would cut them and only warn."""
    from pandas.errors import ParserWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", ParserWarning)
        yield


def fingerprint(address: str, config: str | None = None, split: str | None = None) -> str:
    """What rows are known by: the hash of a file or folder here, or of a data set's name, version and split.

    On the hub that is the newest version; without a network, the one that was fetched last. `table` reads the same one.

    Raises:
        DistillError: there is neither.
    """
    path = Path(address)
    if path.is_dir():
        return hash_of_folder(path)
    return hash_of_file(path) if path.is_file() else str(table(address, config, split)._fingerprint)
