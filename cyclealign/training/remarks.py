"""Remarks of a training on itself, for the round's history: a file beside its weights, by subject."""

import json
from collections.abc import Mapping
from pathlib import Path

FILE = "remarks.json"


def save_remarks(folder: Path, remarks: Mapping[str, str]) -> None:
    """Write the remarks, if there are any."""
    if remarks:
        (folder / FILE).write_text(json.dumps(remarks), encoding="utf-8")


def load_remarks(folder: Path) -> dict[str, str]:
    """Return the remarks; none from a training that left none."""
    path = folder / FILE
    remarks: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return remarks
