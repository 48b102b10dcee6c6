"""Prompt files of tests: rows written as JSON Lines, and what is read of them."""

import gzip
import json
from pathlib import Path

from cyclealign.prompt_import import Imported, read_source


def written(folder: Path, *rows: object, name: str = "p.jsonl") -> str:
    """Write rows (a text as it is, other values as JSON) to a file, compressed if it is named so; return its path."""
    path = folder / name
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return str(path)


def turns_of(imported: Imported) -> list[list[tuple[str, str]]]:
    """Return role and content of every turn of every prompt."""
    return [[(turn["role"], turn["content"]) for turn in prompt.messages] for prompt, _ in imported.prompts]


def read_one(folder: Path, row: object) -> Imported:
    """Read one row; its prompt is held out, so that a labelled list is kept."""
    return read_source(written(folder, row), 1.0)
