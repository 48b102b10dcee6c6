"""Teacher output as data: computed once, kept under the hash of what made it, complete or absent.

A folder ``<hash>/`` holds ``made_of.json``, for people, and the arrays: ``labels.npz``, or one file a part. Files are
written beside and renamed, so a run that is killed leaves whole files only.
"""

import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclealign.files import appearing_folder
from cyclealign.records import content_id

Arrays = dict[str, NDArray[Any]]

logger = logging.getLogger(__name__)


def labelled(folder: Path, made_of: Mapping[str, object], make: Callable[[], Arrays]) -> Arrays:
    """The arrays that ``make`` gives, made at most once for the same ``made_of``.

    Args:
        folder: where the labels of a job lie.
        made_of: all that the arrays depend on, as JSON values: model (with revision or content hash), data (with
            content hash), settings, seed.
        make: computes the arrays; no array of Python objects.
    """
    final = folder / content_id("labels", made_of)
    found = _read(final / "labels.npz")
    if found is None:
        with appearing_folder(final) as made:
            _describe(made, made_of)
            np.savez(made / "labels.npz", **make())  # type: ignore[arg-type]
        found = _read(final / "labels.npz")
    assert found is not None
    return found


def in_parts(items: int, size: int) -> list[range]:
    """``items`` cut into ranges of ``size``, the last one shorter."""
    return [range(start, min(start + size, items)) for start in range(0, items, size)]


def labelled_in_parts(
    folder: Path,
    made_of: Mapping[str, object],
    parts: Sequence[range],
    make_part: Callable[[range], Arrays],
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> Arrays:
    """As `labelled`, part by part: a run that was killed computes only the parts that are missing.

    Args:
        folder: where the labels of a job lie.
        made_of: all that the arrays depend on; how they are cut need not be said.
        parts: ranges of items, from `in_parts`.
        make_part: the arrays of one range of items; each has the part's items along its first axis.
        tell: hears how many parts are done, of how many.

    Returns:
        Each array whole: the parts, joined along the first axis in their order.
    """
    final = folder / content_id("labels in parts", made_of, [[part.start, part.stop, part.step] for part in parts])
    final.mkdir(parents=True, exist_ok=True)
    _describe(final, made_of)
    found: list[Arrays] = []
    for number, part in enumerate(parts):
        tell(number, len(parts))
        found.append(_part(final / f"part-{number:05d}.npz", part, make_part))
    tell(len(parts), len(parts))
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]} if found else {}


def _part(path: Path, part: range, make_part: Callable[[range], Arrays]) -> Arrays:
    found = _read(path)
    if found is not None:
        return found
    made = make_part(part)
    wrong = [name for name, array in made.items() if len(array) != len(part)]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: not one row an item of the part ({len(part)} items)")
    handle, temporary = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".npz", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **made)  # type: ignore[arg-type]
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return made


def _read(path: Path) -> Arrays | None:
    """The arrays of a file; None where there is none, or where it was damaged (it is then made again)."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except FileNotFoundError:
        return None
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        logger.warning("%s cannot be read (%s) and is made again.", path, error)
        return None


def _describe(folder: Path, made_of: Mapping[str, object]) -> None:
    text = json.dumps(made_of, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / "made_of.json").write_text(text + "\n", encoding="utf-8")
