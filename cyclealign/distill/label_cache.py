"""Labels, computed by the teacher once and kept under the hash of everything that they are made of.

A folder ``<hash>/`` holds ``made_of.json``, for people, and the arrays: ``labels.npz``, or one file per part. Files are
written under a temporary name and renamed, so an interrupted run leaves complete files only.
"""

import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclealign.files import appearing_folder
from cyclealign.progress import OnProgress
from cyclealign.records import content_id

Arrays = dict[str, NDArray[Any]]

logger = logging.getLogger(__name__)


def cached_labels(folder: Path, made_of: Mapping[str, object], compute: Callable[[], Arrays]) -> Arrays:
    """Return the arrays of ``compute``, which is called at most once for the same ``made_of``.

    Args:
        folder: the job's label cache.
        made_of: everything that the arrays depend on, as JSON values: model (with revision or content hash), data
            (with content hash), settings, seed.
        compute: returns the arrays; none of them may hold Python objects.
    """
    final = folder / content_id("labels", made_of)
    labels = _read(final / "labels.npz")
    if labels is None:
        with appearing_folder(final) as unfinished:
            _describe(unfinished, made_of)
            np.savez(unfinished / "labels.npz", **compute())  # type: ignore[arg-type]
        labels = _read(final / "labels.npz")
    with suppress(OSError):  # such as a folder that is only readable
        os.utime(final)  # the last use, by which housekeeping goes
    assert labels is not None
    return labels


def parts_of(items: int, size: int) -> list[range]:
    """Cut ``items`` into ranges of ``size``; the last one may be shorter."""
    return [range(start, min(start + size, items)) for start in range(0, items, size)]


def cached_labels_in_parts(
    folder: Path,
    made_of: Mapping[str, object],
    parts: Sequence[range],
    compute_part: Callable[[range], Arrays],
    on_progress: OnProgress = lambda done, of: None,
) -> Arrays:
    """Like `cached_labels`, part by part: an interrupted run computes only the missing parts when it is resumed.

    Args:
        folder: the job's label cache.
        made_of: everything that the arrays depend on; the parts are added.
        parts: ranges of items, from `parts_of`.
        compute_part: returns the arrays of one range, each with the part's items along its first axis.
        on_progress: called with the number of parts done and their total.

    Returns:
        The arrays of all parts, concatenated along the first axis.

    Raises:
        ValueError: an array of ``compute_part`` does not have one row per item of the part.
    """
    final = folder / content_id("labels in parts", made_of, [[part.start, part.stop, part.step] for part in parts])
    final.mkdir(parents=True, exist_ok=True)
    _describe(final, made_of)
    labels: list[Arrays] = []
    for number, part in enumerate(parts):
        on_progress(number, len(parts))
        labels.append(_part(final / f"part-{number:05d}.npz", part, compute_part))
    on_progress(len(parts), len(parts))
    return {name: np.concatenate([arrays[name] for arrays in labels]) for name in labels[0]} if labels else {}


def _part(path: Path, part: range, compute_part: Callable[[range], Arrays]) -> Arrays:
    cached = _read(path)
    if cached is not None:
        return cached
    arrays = compute_part(part)
    wrong = [name for name, array in arrays.items() if len(array) != len(part)]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: expected one row per item of the part ({len(part)} items)")
    handle, temporary = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".npz", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return arrays


def _read(path: Path) -> Arrays | None:
    """Return the arrays of a file; None if it is missing or damaged, so that it is computed again."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except FileNotFoundError:
        return None
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        logger.warning("%s cannot be read (%s) and is computed again.", path, error)
        return None


def _describe(folder: Path, made_of: Mapping[str, object]) -> None:
    text = json.dumps(made_of, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / "made_of.json").write_text(text + "\n", encoding="utf-8")
