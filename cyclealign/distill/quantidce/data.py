"""Dialogues: responses of graded coherence, and scored responses, from files and Hugging Face data sets."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cyclealign.distill.data.datasets import table
from cyclealign.distill.data.splits import refuse_shared
from cyclealign.distill.quantidce import demo_data
from cyclealign.distill.quantidce.config import DEMO, DataSettings
from cyclealign.errors import DistillError
from cyclealign.files import json_lines

logger = logging.getLogger(__name__)

# DailyDialog++'s names of its levels, best first.
LEVELS = ("positive_responses", "adversarial_negative_responses", "random_negative_responses")
HELD_OUT = 10  # one context in so many
LINES, TABLES = (".jsonl", ".json"), (".parquet", ".gz")  # how a file that is read here ends; others are read as lines


@dataclass(frozen=True)
class Graded:
    """A context and its responses by level, best level first; each level has the same number of responses."""

    context: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Scored:
    """A response to a context, and its human score from 1 to 5; None where it is to be found."""

    context: tuple[str, ...]
    response: str
    score: float | None = None


@dataclass(frozen=True)
class Dialogues:
    """All that the job reads: levels to learn from and to look at, scores to learn from, test sets by name."""

    graded: tuple[Graded, ...]
    held_out: tuple[Graded, ...]
    scored: tuple[Scored, ...]
    tests: Mapping[str, tuple[Scored, ...]]


def load(settings: DataSettings, seed: int) -> Dialogues:
    """The dialogues that the settings name.

    Raises:
        DistillError: a source is missing or wrong, or something is learnt from and tested on; the message names file
            and line, or data set and row, or what it is.
    """
    if settings.levels == DEMO:
        made = demo_data.made(settings.contexts, settings.responses, tuple(settings.tests), seed)
        graded = [Graded(context, levels) for context, levels in made.graded]
        scored = tuple(Scored(*row) for row in made.scored)
        tests = {name: tuple(Scored(*row) for row in rows) for name, rows in made.tests.items()}
    else:
        graded = chosen(read_graded(settings.levels, settings.responses), settings.contexts, seed)
        scored = tuple(read_scored(settings.scored))
        tests = {name: tuple(read_scored(source)) for name, source in settings.tests.items()}
    learnt = [each for number, each in enumerate(graded) if number % HELD_OUT]
    refuse_learnt(tests, scored, learnt)
    return Dialogues(tuple(learnt), tuple(graded[::HELD_OUT]), scored, tests)


def refuse_learnt(tests: Mapping[str, Sequence[Scored]], scored: Sequence[Scored], graded: Sequence[Graded]) -> None:
    """Refuse a test set with a response to a context that is learnt from; errors as `refuse_shared`."""
    from_levels = {(each.context, response) for each in graded for level in each.levels for response in level}
    from_scores = {(each.context, each.response) for each in scored}
    for name, pairs in tests.items():
        tested = f"test set '{name}'", {(each.context, each.response) for each in pairs}
        refuse_shared("responses", ("the scored responses", from_scores), tested)
        refuse_shared("responses", ("the levels", from_levels), tested)


def chosen(graded: list[Graded], count: int, seed: int) -> list[Graded]:
    """At most ``count`` contexts, drawn by the seed."""
    order = np.random.default_rng([seed, 7]).permutation(len(graded))
    return [graded[number] for number in order[:count]]


def read_graded(source: str | Path, responses: int) -> list[Graded]:
    """Contexts with ``responses`` of each level, the first ones; those with fewer in some level are left out.

    A batch is one tensor, so all contexts have as many.
    """
    found, counts = [], []
    for where, row in rows_of(source, ("context", *LEVELS)):
        lists = [texts_of(row, name, where, least=0) for name in LEVELS]
        counts.append(min(len(each) for each in lists))
        context = texts_of(row, "context", where)
        if counts[-1] >= responses:
            found.append(Graded(context, tuple(each[:responses] for each in lists)))
    if len(found) < 2:
        most = sorted(counts)[-2] if len(counts) > 1 else 0
        advice = f"Set data.responses to {most} or less." if most else "Two such contexts are needed at least."
        raise DistillError(
            f"{source}: {len(found)} of {len(counts)} contexts have {responses} responses in every level. {advice}"
        )
    if len(found) < len(counts):
        left_out = len(counts) - len(found)
        logger.warning(
            "%s: %d of %d contexts are left out: they have fewer than %d responses in some level (data.responses).",
            *(source, left_out, len(counts), responses),
        )
    return found


def read_scored(source: str | Path) -> list[Scored]:
    """Responses with their human scores."""
    found = []
    for where, row in rows_of(source, ("context", "response", "score")):
        score = row.get("score")
        if not isinstance(score, int | float) or not 1 <= score <= 5:
            raise DistillError(f'{where}: "score" must be a number from 1 to 5.')
        found.append(replace(pair_of(row, where), score=float(score)))
    return found


def read_pairs(source: str | Path) -> list[Scored]:
    """Responses whose scores are to be found; one that a row holds is left aside."""
    return [pair_of(row, where) for where, row in rows_of(source, ("context", "response"))]


def pair_of(row: Mapping[str, Any], where: str) -> Scored:
    """Context and response of a row."""
    response = row.get("response")
    if not isinstance(response, str):
        raise DistillError(f'{where}: "response" must be a text.')
    return Scored(texts_of(row, "context", where), response)


def rows_of(source: str | Path, columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a source, and where each one is: a file of JSON lines, or what `table` reads."""
    path = Path(source)
    if path.suffix in LINES or (path.is_file() and path.suffix not in TABLES):
        return rows_of_lines(path)
    return rows_of_table(str(source), columns)


def rows_of_table(source: str, columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a Hugging Face data set, or of a file as one."""
    rows = table(source)
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise DistillError(f"{source}: no column {missing}; it has {rows.column_names}. {list(columns)} are needed.")
    if not len(rows):
        raise DistillError(f"{source}: no dialogues in it.")
    for number, row in enumerate(rows, 1):
        yield f"{source}, row {number}", row


def rows_of_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the JSON objects of a file, one a line, each with its file and line."""
    rows = list(json_lines(path, DistillError))
    if not rows:
        raise DistillError(f"{path}: no dialogues in it.")
    for where, row in rows:
        if not isinstance(row, dict):
            raise DistillError(f'{where}: want an object such as {{"context": ["Hi!"], "response": "Hello."}}.')
        yield where, row


def texts_of(row: Mapping[str, Any], name: str, where: str, least: int = 1) -> tuple[str, ...]:
    """A list of texts of a row, ``least`` or more."""
    value = row.get(name)
    if not isinstance(value, list) or len(value) < least or not all(isinstance(text, str) for text in value):
        raise DistillError(f'{where}: "{name}" must be a list of texts{", not empty" if least else ""}.')
    return tuple(value)
