"""Dialogues with responses of graded coherence, and scored responses, from files and Hugging Face data sets."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cyclealign.distill.data.datasets import load_table
from cyclealign.distill.data.splits import require_disjoint
from cyclealign.distill.quantidce import demo_data
from cyclealign.distill.quantidce.config import DEMO, DataSettings
from cyclealign.errors import DistillError
from cyclealign.files import json_lines

logger = logging.getLogger(__name__)

# DailyDialog++'s names of its levels, best first.
LEVELS = ("positive_responses", "adversarial_negative_responses", "random_negative_responses")
HELD_OUT = 10  # one context in ten
LINES, TABLES = (".jsonl", ".json"), (".parquet", ".gz")  # suffixes; files with other suffixes are read as lines


@dataclass(frozen=True)
class Graded:
    """A context and its responses by level, best level first; each level has the same number of responses."""

    context: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Scored:
    """A response to a context, and its human score from 1 to 5; None if there is none."""

    context: tuple[str, ...]
    response: str
    score: float | None = None


@dataclass(frozen=True)
class Dialogues:
    """The job's data: graded contexts for training and held out, scored responses for training, test sets by name."""

    graded: tuple[Graded, ...]
    held_out: tuple[Graded, ...]
    scored: tuple[Scored, ...]
    tests: Mapping[str, tuple[Scored, ...]]


def load(settings: DataSettings, seed: int) -> Dialogues:
    """Load the dialogues of the settings; reproducible by seed.

    Raises:
        DistillError: a source is missing or wrong, or training and test data overlap; the message names file and line,
            data set and row, or the response.
    """
    if settings.levels == DEMO:
        demo = demo_data.generate(settings.contexts, settings.responses, tuple(settings.tests), seed)
        graded = [Graded(context, levels) for context, levels in demo.graded]
        scored = tuple(Scored(*row) for row in demo.scored)
        tests = {name: tuple(Scored(*row) for row in rows) for name, rows in demo.tests.items()}
    else:
        graded = sample(read_graded(settings.levels, settings.responses), settings.contexts, seed)
        scored = tuple(read_scored(settings.scored))
        tests = {name: tuple(read_scored(source)) for name, source in settings.tests.items()}
    training = [row for number, row in enumerate(graded) if number % HELD_OUT]
    refuse_overlap(tests, scored, training)
    return Dialogues(tuple(training), tuple(graded[::HELD_OUT]), scored, tests)


def refuse_overlap(tests: Mapping[str, Sequence[Scored]], scored: Sequence[Scored], graded: Sequence[Graded]) -> None:
    """Raise DistillError if a test set has a response to a context that is trained on; see `require_disjoint`."""
    from_levels = {(row.context, response) for row in graded for level in row.levels for response in level}
    from_scores = {(pair.context, pair.response) for pair in scored}
    for name, pairs in tests.items():
        tested = f"test set '{name}'", {(pair.context, pair.response) for pair in pairs}
        require_disjoint("responses", ("the scored responses", from_scores), tested)
        require_disjoint("responses", ("the levels", from_levels), tested)


def sample(graded: list[Graded], count: int, seed: int) -> list[Graded]:
    """Return at most ``count`` contexts in random order."""
    order = np.random.default_rng([seed, 7]).permutation(len(graded))
    return [graded[number] for number in order[:count]]


def read_graded(source: str | Path, responses: int) -> list[Graded]:
    """Read contexts with their first ``responses`` responses of each level; contexts with fewer are left out.

    A batch is one tensor, so all contexts need the same number.

    Raises:
        DistillError: a row is wrong, or fewer than two contexts are left.
    """
    graded, counts = [], []
    for where, row in rows_of(source, ("context", *LEVELS)):
        levels = [texts_of(row, name, where, min_length=0) for name in LEVELS]
        counts.append(min(map(len, levels)))
        context = texts_of(row, "context", where)
        if counts[-1] >= responses:
            graded.append(Graded(context, tuple(level[:responses] for level in levels)))
    if len(graded) < 2:
        possible = sorted(counts)[-2] if len(counts) > 1 else 0
        advice = f"Set data.responses to {possible} or less." if possible else "At least two contexts are needed."
        raise DistillError(
            f"{source}: {len(graded)} of {len(counts)} contexts have {responses} responses in every level. {advice}"
        )
    if len(graded) < len(counts):
        left_out = len(counts) - len(graded)
        logger.warning(
            "%s: %d of %d contexts are left out: they have fewer than %d responses in some level (data.responses).",
            *(source, left_out, len(counts), responses),
        )
    return graded


def read_scored(source: str | Path) -> list[Scored]:
    """Read responses with their human scores; raise DistillError for a wrong row."""
    scored = []
    for where, row in rows_of(source, ("context", "response", "score")):
        score = row.get("score")
        if not isinstance(score, int | float) or not 1 <= score <= 5:
            raise DistillError(f'{where}: "score" must be a number from 1 to 5.')
        scored.append(replace(pair_of(row, where), score=float(score)))
    return scored


def read_pairs(source: str | Path) -> list[Scored]:
    """Read responses without scores; a score in a row is ignored. Raise DistillError for a wrong row."""
    return [pair_of(row, where) for where, row in rows_of(source, ("context", "response"))]


def pair_of(row: Mapping[str, Any], where: str) -> Scored:
    """Return context and response of a row; raise DistillError if it is wrong."""
    response = row.get("response")
    if not isinstance(response, str):
        raise DistillError(f'{where}: "response" must be a text.')
    return Scored(texts_of(row, "context", where), response)


def rows_of(source: str | Path, columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the location and the values of each row of a JSON Lines file or of a source that `load_table` reads."""
    path = Path(source)
    if path.suffix in LINES or (path.is_file() and path.suffix not in TABLES):
        return rows_of_lines(path)
    return rows_of_table(str(source), columns)


def rows_of_table(source: str, columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the location and the values of each row of a Hugging Face data set, or of a file that is read as one."""
    rows = load_table(source)
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise DistillError(f"{source}: no column {missing}; it has {rows.column_names}. {list(columns)} are needed.")
    if not len(rows):
        raise DistillError(f"{source}: it holds no dialogues.")
    for number, row in enumerate(rows, 1):
        yield f"{source}, row {number}", row


def rows_of_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the JSON objects of a file, one a line, each with its file and line."""
    rows = list(json_lines(path, DistillError))
    if not rows:
        raise DistillError(f"{path}: it holds no dialogues.")
    for where, row in rows:
        if not isinstance(row, dict):
            raise DistillError(f'{where}: expected an object such as {{"context": ["Hi!"], "response": "Hello."}}.')
        yield where, row


def texts_of(row: Mapping[str, Any], name: str, where: str, min_length: int = 1) -> tuple[str, ...]:
    """Return a list of texts of a row, at least ``min_length``; raise DistillError if it is something else."""
    value = row.get(name)
    if not isinstance(value, list) or len(value) < min_length or not all(isinstance(text, str) for text in value):
        raise DistillError(f'{where}: "{name}" must be a list of texts{", not empty" if min_length else ""}.')
    return tuple(value)
