"""Rows of files here, and of Hugging Face data sets, and what both are known by."""

from pathlib import Path
from typing import Any

from cyclealign.errors import DistillError
from cyclealign.files import hash_of_file, hash_of_folder

READERS = {".txt": "text", ".jsonl": "json", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}


def table(address: str, config: str | None = None, split: str | None = None) -> Any:
    """A Hugging Face `Dataset` of a file here (.gz too) or of ``name[:split]`` on the hub.

    Raises:
        DistillError: neither could be read.
    """
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()  # they would tear the terminal's own
    path = Path(address)
    kind = READERS.get(path.suffix if path.suffix != ".gz" else path.with_suffix("").suffix)
    try:
        if kind and path.is_file():
            more = {"delimiter": "\t"} if ".tsv" in path.suffixes else {}
            return load_dataset(kind, data_files=str(path), split="train", **more)
        name, _, named_split = address.partition(":")
        return load_dataset(name, config, split=split or named_split or "train")
    except Exception as error:  # the library and the hub's client raise many kinds
        first_line = (str(error).strip().splitlines() or [""])[0]
        raise DistillError(
            f"'{address}' is neither a file that can be read here ({', '.join(READERS)}) nor a data set that could be "
            f"fetched ({type(error).__name__}: {first_line})."
        ) from error


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
