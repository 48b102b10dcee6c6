"""Rows of local files and Hugging Face data sets, and fingerprints of both."""

import csv
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cyclealign.errors import DistillError
from cyclealign.files import hash_of_file, hash_of_folder

# File suffix -> loader of the datasets library.
LOADERS = {".txt": "text", ".jsonl": "json", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}


def load_table(address: str, config: str | None = None, split: str | None = None) -> Any:
    """Load a `datasets.Dataset` from a local file (also .gz) or from ``name[:split]`` on the Hugging Face hub.

    All cells of a .csv or .tsv file are strings; an empty cell is None.

    Raises:
        DistillError: the file cannot be read, or the data set cannot be fetched.
    """
    from datasets import disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetGenerationError

    disable_progress_bars()  # they would overwrite the terminal's own progress bars
    path = Path(address)
    loader = LOADERS.get(path.suffix if path.suffix != ".gz" else path.with_suffix("").suffix)
    try:
        if loader and path.is_file():
            with _refuse_extra_cells():
                options = _string_cells(path) if loader == "csv" else {}
                return load_dataset(loader, data_files=str(path), split="train", **options)
        name, _, named_split = address.partition(":")
        return load_dataset(name, config, split=split or named_split or "train")
    except Exception as error:  # the library and the hub's client raise errors of many types
        cause = (error.__cause__ if isinstance(error, DatasetGenerationError) else None) or error
        first_line = (str(cause).strip().splitlines() or [""])[0]
        raise DistillError(
            f"'{address}' is neither a readable local file ({', '.join(LOADERS)}) nor a data set that could be "
            f"fetched ({type(cause).__name__}: {first_line})."
        ) from error


def _string_cells(path: Path) -> dict[str, Any]:
    """Return options of the csv loader that keep every cell as it is written: no numbers, and "NA" is a word."""
    from datasets import Features, Value
    from pandas import read_csv

    options: dict[str, Any] = {"keep_default_na": False, "na_values": [""], "index_col": False}
    if ".tsv" in path.suffixes:
        options |= {"delimiter": "\t", "quoting": csv.QUOTE_NONE}  # quotation marks are ordinary characters in .tsv
    names = read_csv(path, nrows=0, **options).columns
    return {**options, "features": Features({name: Value("string") for name in names})}


@contextmanager
def _refuse_extra_cells() -> Iterator[None]:
    """Raise on lines with more cells than the heading; pandas would cut them and only warn."""
    from pandas.errors import ParserWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", ParserWarning)
        yield


def fingerprint(address: str, config: str | None = None, split: str | None = None) -> str:
    """Return the content hash of a local file or folder, or the hub's hash of a data set's version and split.

    On the hub this is the newest version or, without a network, the cached one. `load_table` reads the same version.

    Raises:
        DistillError: the address is neither.
    """
    path = Path(address)
    if path.is_dir():
        return hash_of_folder(path)
    return hash_of_file(path) if path.is_file() else str(load_table(address, config, split)._fingerprint)
