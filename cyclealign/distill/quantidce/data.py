"""Dialogues: responses of graded coherence, and scored responses, from files."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cyclealign.distill.quantidce import world
from cyclealign.distill.quantidce.config import DataSettings
from cyclealign.errors import DistillError

# DailyDialog++'s names of its levels, best first.
LEVELS = ("positive_responses", "adversarial_negative_responses", "random_negative_responses")
HELD_OUT = 10  # one context in so many


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
        DistillError: a file is missing or wrong; the message names file and line.
    """
    if settings.levels == "made":
        made = world.made(settings.contexts, settings.responses, tuple(settings.tests), seed)
        graded = [Graded(context, levels) for context, levels in made.graded]
        scored = tuple(Scored(*row) for row in made.scored)
        tests = {name: tuple(Scored(*row) for row in rows) for name, rows in made.tests.items()}
    else:
        graded = chosen(read_graded(Path(settings.levels), settings.responses), settings.contexts, seed)
        scored = tuple(read_scored(Path(settings.scored)))
        tests = {name: tuple(read_scored(Path(path))) for name, path in settings.tests.items()}
    learnt = [each for number, each in enumerate(graded) if number % HELD_OUT]
    return Dialogues(tuple(learnt), tuple(graded[::HELD_OUT]), scored, tests)


def chosen(graded: list[Graded], count: int, seed: int) -> list[Graded]:
    """At most ``count`` contexts, drawn by the seed."""
    order = np.random.default_rng([seed, 7]).permutation(len(graded))
    return [graded[number] for number in order[:count]]


def read_graded(path: Path, responses: int) -> list[Graded]:
    """Contexts with at most ``responses`` of each level; those with fewer in one level keep as many in all."""
    found = []
    for where, row in rows_of(path):
        lists = [texts_of(row, name, where) for name in LEVELS]
        count = min(responses, *(len(each) for each in lists))
        if count == 0:
            raise DistillError(f"{where}: a level has no response. Every context needs one of each level.")
        found.append(Graded(texts_of(row, "context", where), tuple(each[:count] for each in lists)))
    if len(found) < 2:
        raise DistillError(f"{path}: two contexts are needed at least.")
    # A batch is one tensor, so all contexts have as many responses as the one with the fewest.
    fewest = min(len(each.levels[0]) for each in found)
    return [Graded(each.context, tuple(level[:fewest] for level in each.levels)) for each in found]


def read_scored(path: Path) -> list[Scored]:
    """Responses with their human scores."""
    found = []
    for where, row in rows_of(path):
        score = row.get("score")
        if not isinstance(score, int | float) or not 1 <= score <= 5:
            raise DistillError(f'{where}: "score" must be a number from 1 to 5.')
        found.append(replace(pair_of(row, where), score=float(score)))
    return found


def read_pairs(path: Path) -> list[Scored]:
    """Responses whose scores are to be found; one that a row holds is left aside."""
    return [pair_of(row, where) for where, row in rows_of(path)]


def pair_of(row: Mapping[str, Any], where: str) -> Scored:
    """Context and response of a row."""
    response = row.get("response")
    if not isinstance(response, str):
        raise DistillError(f'{where}: "response" must be a text.')
    return Scored(texts_of(row, "context", where), response)


def rows_of(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON objects of a file, a line each, and where each one is."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines() would break at U+2028 within a text, too
    except (OSError, UnicodeDecodeError) as error:
        raise DistillError(f"{path} cannot be read as UTF-8 text: {error}. Correct the path or the file.") from error
    if not any(line.strip() for line in lines):
        raise DistillError(f"{path}: no dialogues in it.")
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{path}:{number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DistillError(f"{where}: not JSON ({error}).") from error
            if not isinstance(row, dict):
                raise DistillError(f'{where}: want an object such as {{"context": ["Hi!"], "response": "Hello."}}.')
            yield where, row


def texts_of(row: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    """A list of texts of a row."""
    value = row.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise DistillError(f'{where}: "{name}" must be a list of texts, not empty.')
    return tuple(value)
