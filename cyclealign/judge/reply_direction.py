"""Find in a reply the words that say which end of its list is the best one.

A list, chain or JSON ranking is best first because the request says so, unless the reply says otherwise. Every mention
of a direction is a `Signal`. One that is not certain counts as unknown, and a reply with an unknown direction is
unreadable: the request is repeated at most once, while a ranking read backwards would be a wrong label.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from cyclealign.judge import direction_words as words
from cyclealign.judge.reply_tokens import Token

NEAR, BESIDE = 7, 4  # tokens between the two halves of an announcement; of a closer one


class Direction(Enum):
    """The direction that a signal names."""

    BEST_FIRST = "best first"
    WORST_FIRST = "worst first"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Signal:
    """A mention of a direction at characters ``start`` to ``end``; ``weak``: it may also be a remark on an answer."""

    direction: Direction
    start: int
    end: int
    weak: bool = False


@dataclass(frozen=True)
class Claim:
    """The reply's statement that one answer is the best, or the worst, of all."""

    label: str
    best: bool


def signals(row: Sequence[Token], count: int) -> list[Signal]:
    """Return every mention of a direction in the tokens of a reply about ``count`` answers."""
    return [signal for rule in (_pairs, _ends, _slopes, _scales, _signs) for signal in rule(row)] + list(
        _numbers(row, count)
    )


def _signal(row: Sequence[Token], first: int, last: int, side: int, sure: bool, weak: bool = False) -> Signal:
    """Return a signal of the tokens ``first`` to ``last``, unknown if it is negated or not sure."""
    negated = any(token.text in words.NOT for token in row[max(first - 3, 0) : first])
    known = Direction.BEST_FIRST if side > 0 else Direction.WORST_FIRST
    direction = known if sure and not negated else Direction.UNKNOWN
    return Signal(direction, row[first].start, row[last].end, weak)


def _clause(row: Sequence[Token], at: int, most: int) -> Iterator[int]:
    """Yield the positions after ``at`` up to the end of its clause, at most ``most`` of them."""
    for later in range(at + 1, min(at + 1 + most, len(row))):
        if row[later].stops:
            return
        yield later


def _pairs(row: Sequence[Token]) -> Iterator[Signal]:
    """Yield "from worst to best" and the like."""
    for first, token in enumerate(row):
        if not token.side:
            continue
        for last in _clause(row, first, NEAR):
            other = row[last]
            if other.side != -token.side:
                continue
            between = [each.text for each in row[first + 1 : last]]
            linked = any(each in words.TO or each in words.THEN for each in between)
            broad = not (token.superlative and other.superlative)
            if broad and not (linked and len(between) <= 2):
                break
            sure = token.sure and other.sure and not any(each in words.THEN for each in between)
            if linked:
                yield _signal(row, first, last, token.side, sure or (token.side > 0 and _plain_numbers(token, other)))
            elif token.side < 0 and len(between) <= 2:
                yield _signal(row, first, last, -1, sure=False)
            break


def _plain_numbers(one: Token, other: Token) -> bool:
    """Return whether the pair is "highest to lowest", which means best to worst unless more is said."""
    return one.text in words.HIGH and other.text in words.LOW


def _ends(row: Sequence[Token]) -> Iterator[Signal]:
    """Yield "worst first", "the best comes last", "starting with the weakest", "the last one is the best"."""
    for at, token in enumerate(row):
        for later in _clause(row, at, NEAR):
            other = row[later]
            between = [each.text for each in row[at + 1 : later]]
            if other.text == ",":
                break
            if token.superlative and (end := _end(other.text)) and other.text != token.text and len(between) < BESIDE:
                yield _signal(row, at, later, token.side * end, token.sure, weak=len(between) > 1)
                break
            if other.superlative and (end := _opening(token.text, between)):
                yield _signal(row, at, later, other.side * end, other.sure, weak=True)
                break


def _end(word: str) -> int:
    """Return 1 for a word for the start of a list, -1 for its end, 0 for others."""
    return 1 if word in words.FIRST else -1 if word in words.LAST else 0


def _opening(word: str, between: Sequence[str]) -> int:
    """Return 1 if a statement on the start of the list opens with ``word`` and ``between``, -1 for its end, else 0."""
    if len(between) < BESIDE and (word in words.START or word in words.END):
        return 1 if word in words.START else -1
    linked = all(each in words.LINKS for each in between)
    stated = len(between) < 2 or any(each in words.COPULAS and each.isalnum() for each in between)
    return _end(word) if linked and stated else 0


def _slopes(row: Sequence[Token]) -> Iterator[Signal]:
    """Yield "ascending order", "increasing quality", "in reverse" and the like."""
    for at, token in enumerate(row):
        low, high = max(at - BESIDE, 0), min(at + BESIDE, len(row) - 1)
        around = [each.text for each in row[low : high + 1]]
        merit = any(word in words.QUALITIES for word in around)
        ordered = any(word in words.ORDERS for word in around)
        if token.text in words.TURNED:
            if ordered or row[max(at - 1, 0)].text in ("in", "("):
                yield Signal(Direction.UNKNOWN, token.start, token.end, weak=True)
        elif token.side and row[min(at + 1, len(row) - 1)].text in ("順", "顺", "順序", "顺序"):
            yield Signal(Direction.UNKNOWN, token.start, token.end)
        elif (token.text in words.GROWING or token.text in words.SHRINKING) and at + 1 < len(row) and row[at + 1].side:
            yield Signal(Direction.UNKNOWN, token.start, token.end, weak=True)
        elif token.text in words.RISING or (token.text in words.GROWING and (ordered or merit)):
            yield _signal(row, at, at, -1, merit, weak=True)
        elif token.text in words.FALLING or (token.text in words.SHRINKING and (ordered or merit)):
            yield _signal(row, at, at, 1, merit, weak=True)


def _scales(row: Sequence[Token]) -> Iterator[Signal]:
    """Yield "higher is better" and the like: the reader does not know which numbers are meant."""
    for at, token in enumerate(row):
        if token.text in words.SCALES:
            for later in _clause(row, at, BESIDE):
                if row[later].text in ("better", "worse", "best", "worst"):
                    yield Signal(Direction.UNKNOWN, token.start, row[later].end, weak=True)
                    break


def _signs(row: Sequence[Token]) -> Iterator[Signal]:
    """Yield statements on the meaning of ``>`` and ``<``, which may name it either way round."""
    for at, token in enumerate(row):
        if token.text in (">", "<", "≻", "≺"):
            after = row[at + 1 : at + 1 + BESIDE]
            says = any(each.text in words.SAYS for each in after) or (
                any(each.text == "=" for each in after) and any(each.side for each in after)
            )
            if says:
                yield Signal(Direction.UNKNOWN, token.start, after[-1].end, weak=True)


def _numbers(row: Sequence[Token], count: int) -> Iterator[Signal]:
    """Yield "1 = best", "6 is the worst", "best: 1" and the like."""
    for at, token in enumerate(row):
        for later in _clause(row, at, BESIDE):
            other, between = row[later], [each.text for each in row[at + 1 : later]]
            if not all(word in words.LINKS for word in between):
                break
            number, side = (token, other) if _is_place(token) else (other, token)
            if not _is_place(number) or not side.side or not side.superlative:
                continue
            if number is other and not any(word in words.COPULAS for word in between):
                break
            sure = int(number.text) == (1 if side.side > 0 else count)
            yield _signal(row, at, later, 1, sure and side.sure, weak=True)
            break


def _is_place(token: Token) -> bool:
    return token.text.isdecimal() and len(token.text) <= 3


def claims(row: Sequence[Token], named: Sequence[Signal]) -> list[Claim]:
    """Return the statements on single answers, such as "K7 is the best"; ``named`` signals are no claims."""
    return [*_label_first(row), *_label_last(row, named)]


def _label_first(row: Sequence[Token]) -> Iterator[Claim]:
    """Yield "K7 is the best" and "K7 comes last"."""
    for at, token in enumerate(row):
        if token.label is None:
            continue
        between: list[str] = []
        for later in _clause(row, at, NEAR):
            word = row[later]
            if (side := _superlative(word)) and _closes(row, later):
                yield Claim(token.label, side > 0)
            elif between and between[-1] in words.PLACED and _end(word.text) and _closes(row, later):
                yield Claim(token.label, _end(word.text) > 0)
            if word.text not in words.LINKS and word.text not in words.PLACED:
                break
            between.append(word.text)


def _label_last(row: Sequence[Token], named: Sequence[Signal]) -> Iterator[Claim]:
    """Yield "the best answer is K7" and "worst: K7"."""
    for at, token in enumerate(row):
        before = row[at - 1].text if at else ""
        if not (side := _superlative(token)) or before in ("second", "third", "next", "not", "2nd", "nd", "rd"):
            continue
        if any(signal.start <= token.start < signal.end for signal in named):
            continue
        between: list[str] = []
        for other in row[at + 1 : at + NEAR]:
            if other.label is not None:
                if any(word in words.COPULAS for word in between):
                    yield Claim(other.label, side > 0)
                break
            if other.text not in words.LINKS:
                break
            between.append(other.text)


def _superlative(token: Token) -> int:
    """Return 1 for "best", -1 for "worst", 0 for words that say less."""
    return token.side if token.text in words.WORST or token.text in words.BEST else 0


def _closes(row: Sequence[Token], at: int) -> bool:
    """Return whether the phrase ends with the token: "best use of examples" says nothing about the place."""
    after = row[at + 1] if at + 1 < len(row) else None
    return (
        after is None
        or not after.text[0].isalnum()
        or after.text in ("overall", "answer", "response", "one", "by", "because", "since", "as", "and", "in")
        or (after.text == "of" and at + 2 < len(row) and row[at + 2].text == "all")
    )
