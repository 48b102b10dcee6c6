"""Find the rankings that a reply writes without JSON: chains, numbered lists, bullets and tables.

Each is returned in the order of the text, with what its notation says; `cyclealign.judge.reply_parser` decides which
end is the best one.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from cyclealign.judge.reply_announcement import Page
from cyclealign.judge.reply_labels import WORD, WRAPPING, Labels
from cyclealign.judge.reply_tokens import Token
from cyclealign.records import Tiers

_CHAIN_SIGNS = {">": ">", ">>": ">", ">>>": ">", "≻": ">", "<": "<", "<<": "<", "<<<": "<", "≺": "<", "=": "="}
_END = Token("\n\n", 0, 0)
# Columns whose numbers are places, and those that are not read as places.
PLACES = frozenset("rank ranking place position pos # no no. nr nr. rang platz place 名次 排名 順位".split())
_LABEL = rf"(?i:(?:answer|label|response|candidate)[ \t]+)?[\[(\"'`*]*+(?P<label>{WORD})(?P<rest>.*)$"
_NUMBERED = re.compile(rf"^[ \t>*_#-]*+(?P<number>\d{{1,2}})[ \t]*+[.):][ \t*_]*+{_LABEL}", re.MULTILINE)
_BULLETED = re.compile(rf"^[ \t]*+[-*+•·–—][ \t]++{_LABEL}", re.MULTILINE)
_ROW = re.compile(r"^[^|\n]*\|.*$", re.MULTILINE)
_MARK = re.compile(r"\W*\(?(?:best|worst)\b", re.IGNORECASE)
_BARE = re.compile(r"(?:\((?:best|worst)\))?", re.IGNORECASE)
_SCORE = re.compile(
    r"\W{0,4}(?:(?P<word>score[sd]?|rated|rating|grade|points?)\W{0,3})?(?:rank|place|no|nr)?\W{0,3}(?P<number>\d+(?:[.,]\d+)?)"
    r"(?P<scale>\s*(?:/|%|of|out of|points?|pts))?(?![\w.]*\w)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Written:
    """A ranking written in the text at characters ``start`` to ``end``, in the order of the text.

    ``sign``: the notation itself says that the first is the best (">") or the worst ("<"); "" if it does not.
    ``by_number``: the order of its numbers where that is another one. ``introduced``: it is a ranking only if
    introduced as one ("ranking") or as best or worst first ("direction"), or it needs no introduction ("").
    ``agrees``: the scores or places in its remarks do not contradict it.
    """

    tiers: Tiers
    start: int
    end: int
    sign: Literal["", ">", "<"] = ""
    by_number: Tiers | None = None
    introduced: Literal["", "ranking", "direction"] = ""
    turnable: bool = True
    agrees: bool = True


def chains(page: Page, labels: Labels) -> Iterator[Written]:
    """Yield each ``K7 > M3 = X9`` and ``K7 < M3`` on one line; ties by ``=``."""
    run: list[Token] = []
    signs: list[str] = []
    between = ""
    for token in (*page.row, _END):
        if token.label is None:
            between += "" if token.text in "[]()" else token.text
            continue
        if run and between in _CHAIN_SIGNS:
            signs.append(_CHAIN_SIGNS[between])
        else:
            yield from _chain(run, signs)
            run, signs = [], []
        run, between = [*run, token], ""
    yield from _chain(run, signs)


def _chain(run: Sequence[Token], signs: Sequence[str]) -> Iterator[Written]:
    """Yield the chain of labels with these signs between them, if they all point the same way."""
    used = set(signs) - {"="}
    if not signs or len(used) > 1:
        return
    tiers: list[list[str]] = [[run[0].label or ""]]
    for sign, token in zip(signs, run[1:], strict=True):
        if sign != "=":
            tiers.append([])
        tiers[-1].append(token.label or "")
    yield Written(
        tuple(tuple(sorted(tier)) for tier in tiers), run[0].start, run[-1].end, "<" if used == {"<"} else ">"
    )


@dataclass(frozen=True)
class _Line:
    label: str
    rest: str
    number: int | None
    start: int
    end: int


def numbered(page: Page, labels: Labels) -> Iterator[Written]:
    """Yield each list of lines numbered from 1, with a label at the start of each line."""
    count = len(labels.shown)
    lines = list(_lines(_NUMBERED, page.text, labels))
    for first in range(0, len(lines), count):
        run = lines[first : first + count]
        numbers = [line.number or 0 for line in run]
        if sorted(numbers) != list(range(1, count + 1)):
            continue
        # "1. K7 - the best" says that the list is a ranking, unlike "1. K7 - a long answer".
        plain = all(_BARE.fullmatch(line.rest.strip(_DRESSING)) for line in run) or _MARK.match(
            run[numbers.index(1)].rest
        )
        ordered = sorted(run, key=lambda line: line.number or 0)
        yield Written(
            _tiers(run),
            run[0].start,
            run[-1].end,
            by_number=None if numbers == sorted(numbers) else _tiers(ordered),
            introduced="" if plain else "ranking",
            agrees=consistent_scores([line.rest for line in ordered]),
        )


_DRESSING = " \t\r\"'`*_.,;)]"


def bulleted(page: Page, labels: Labels) -> Iterator[Written]:
    """Yield each list of adjacent lines that begin with a bullet and a label."""
    lines = list(_lines(_BULLETED, page.text, labels))
    count = len(labels.shown)
    for first in range(0, len(lines), count):
        run = lines[first : first + count]
        adjacent = all(not page.text[one.end : two.start].strip() for one, two in pairwise(run))
        if len(run) == count and adjacent:
            scores = consistent_scores([line.rest for line in run])
            yield Written(_tiers(run), run[0].start, run[-1].end, introduced="direction", agrees=scores)


def tables(page: Page, labels: Labels) -> Iterator[Written]:
    """Yield each table with a column of places from 1 and a column of labels, in the order of the places."""
    rows = [
        (match, [cell.strip(WRAPPING) for cell in match.group().strip().strip("|").split("|")])
        for match in _ROW.finditer(page.text)
    ]
    count = len(labels.shown)
    for at, (_, header) in enumerate(rows):
        body = rows[at + 2 : at + 2 + count]
        if (
            at + 2 > len(rows)
            or not _ruled(rows[at + 1 : at + 2])
            or any(len(cells) != len(header) for _, cells in body)
        ):
            continue
        places = [column for column, name in enumerate(header) if name.casefold() in PLACES]
        named = [column for column in range(len(header)) if all(labels.canonical(cells[column]) for _, cells in body)]
        if len(places) != 1 or len(named) != 1:
            continue
        numbers = [cells[places[0]] for _, cells in body]
        if sorted(numbers) != sorted(map(str, range(1, count + 1))):
            continue
        ranked = sorted(body, key=lambda row: int(row[1][places[0]]))
        others = [column for column in range(len(header)) if column not in (places[0], named[0])]
        agree = all(consistent_scores([cells[column] for _, cells in ranked], scores=True) for column in others)
        tiers = tuple((labels.canonical(cells[named[0]]) or "",) for _, cells in ranked)
        yield Written(tiers, rows[at][0].start(), body[-1][0].end(), turnable=False, agrees=agree)


def _ruled(rows: Sequence[tuple[re.Match[str], list[str]]]) -> bool:
    return all(re.fullmatch(r"[:\s-]*", "".join(cells)) for _, cells in rows)


def _lines(pattern: re.Pattern[str], text: str, labels: Labels) -> Iterator[_Line]:
    for match in pattern.finditer(text):
        if label := labels.canonical(match["label"]):
            number = match.groupdict().get("number")
            yield _Line(label, match["rest"], int(number) if number else None, *match.span())


def _tiers(run: Sequence[_Line]) -> Tiers:
    return tuple((line.label,) for line in run)


def consistent_scores(remarks: Sequence[str], scores: bool = False) -> bool:
    """Return whether the numbers that open the remarks on a list, best first, do not say that it is worst first.

    Places must be 1, 2, 3 ...; scores must not rise. Numbers that count down to 1 may be either, so they do not agree.

    Args:
        remarks: texts after the labels, in the order of the list.
        scores: the numbers are scores for certain, places otherwise where they can be.
    """
    matches = [_SCORE.match(remark) for remark in remarks]
    if not matches or not all(matches):
        return True  # no numbers, or only in passing
    values = [float(match["number"].replace(",", ".")) for match in matches if match]
    places = [float(place) for place in range(1, len(values) + 1)]
    scored = scores or any(match and (match["word"] or match["scale"]) for match in matches)
    if not scored and values == places:
        return True
    falling = all(one >= two for one, two in pairwise(values))
    return falling and (scored or values != places[::-1])


NOTATIONS: tuple[Callable[[Page, Labels], Iterator[Written]], ...] = (chains, numbered, bulleted, tables)
