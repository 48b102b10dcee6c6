"""Paths that are never deleted: kept weights, students, reports, and paths that stored settings name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclealign.files import adapters_folder, home
from cyclealign.store import Store


def needed_paths(store: Store) -> set[Path]:
    """Return the resolved paths of everything that a round or a finished distillation run rests on."""
    needed = {Path(adapter.path).resolve() for adapter in store.upkeep.adapters()}
    named = [text for settings in store.upkeep.newest_settings() for text in texts_in(settings)]
    for run in store.distillations.runs():
        needed |= {Path(path).resolve() for path in (run["student_path"], run["report_path"]) if path}
        named += texts_in(run["config"])
    return needed | {path for text in named if (path := path_below_home(text)) is not None}


def path_below_home(text: str) -> Path | None:
    """Return the resolved path if the text is that of something in the home or among the weights, else None."""
    try:
        path = Path(text).resolve()
        exists = path.exists()
    except (OSError, ValueError, RuntimeError):  # longer than a path, with a null byte, or a circle of links
        return None
    # A setting may also name a folder around the home; that alone does not make everything in it needed.
    inside = any(folder in path.parents for folder in (home().resolve(), adapters_folder().resolve()))
    return path if exists and inside else None


def texts_in(value: Any) -> Iterator[str]:
    """Yield the texts among JSON values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from texts_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from texts_in(part)
