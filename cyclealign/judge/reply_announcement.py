"""The sentence that introduces a ranking in a reply, and the remark that follows it: is every word of them understood?

A direction may be named in words that `cyclealign.judge.direction_words` lacks. So the words right beside a list or
chain must all be plain ones; those beside JSON, of which the request fixes the direction, mostly.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property

from cyclealign.judge import direction_words as words
from cyclealign.judge.reply_direction import Direction, Signal, signals
from cyclealign.judge.reply_json import JsonObject
from cyclealign.judge.reply_labels import Labels
from cyclealign.judge.reply_tokens import Token, tokens

MAX_SENTENCE = 400  # characters
_FENCE_OPENS = re.compile(r"```\w*\Z")
_LEAD = " \t\r\n`>|*_#([{\"'=-"  # between a heading and its ranking
_SENTENCE_END = re.compile(r"[.!?。！？](?=\s|$)|\n")
_STRING = re.compile(r"[\"'](\w+)[\"']\s*:\s*(\"(?:[^\"\\]|\\.)*+\"|'(?:[^'\\]|\\.)*+')")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# Words after which the rest of a sentence may say how the list is ordered.
_ORDERING = frozenset(
    "order ordered ordering sort sorted sorting sequence direction arranged arrangement bottom reihenfolge ordre orden "
    "ordine".split()
)


@dataclass(frozen=True)
class Heading:
    """The sentence before a ranking.

    ``plain``: each of its words is known; ``understood``: enough of them, as it ends with a full stop and may be about
    something else.
    """

    direction: Direction | None
    signals: tuple[Signal, ...]
    plain: bool
    understood: bool
    page: "Page"

    def ending_is_plain(self, end: int) -> bool:
        """Return whether the remark after the ranking, which ends at this character, says nothing about an order."""
        return self.page.ending_is_plain(end)


@dataclass(frozen=True)
class Page:
    """The text of a reply with its tokens and its signals of direction."""

    text: str
    labels: Labels

    @cached_property
    def row(self) -> tuple[Token, ...]:
        """Return the tokens of the reply."""
        return tuple(tokens(self.text, self.labels))

    @cached_property
    def signals(self) -> tuple[Signal, ...]:
        """Return the mentions of a direction, without the weak ones in JSON strings about one answer, as a reason."""
        strings = [match.span(2) for match in _STRING.finditer(self.text) if self.labels.canonical(match[1])]
        return tuple(
            signal
            for signal in signals(self.row, len(self.labels.shown))
            if not signal.weak or not any(start <= signal.start and signal.end <= end for start, end in strings)
        )

    @cached_property
    def _starts(self) -> list[int]:
        return [token.start for token in self.row]

    def heading(self, start: int) -> Heading:
        """Return the sentence before the character ``start``."""
        begin, end, closed = self._sentence_before(start)
        inside = tuple(signal for signal in self.signals if begin <= signal.start and signal.end <= end)
        directions = {signal.direction for signal in inside}
        direction = directions.pop() if len(directions) == 1 else (Direction.UNKNOWN if directions else None)
        plain = not self._unknown(begin, end)
        return Heading(direction, inside, plain, plain or (closed and self._understood(begin, end, closed)), self)

    def json_is_plain(self, found: JsonObject) -> bool:
        """Return whether the words beside a JSON object, and its comments, are mostly known and name no other order."""
        begin, end, closed = self._sentence_before(found.start)
        comments = [] if found.strict else _COMMENT.finditer(self.text, found.start, found.end)
        spans = [(begin, end, closed), *((*comment.span(), False) for comment in comments)]
        return all(self._understood(*span) for span in spans) and self.ending_is_plain(found.end)

    def ending_is_plain(self, end: int) -> bool:
        """Return whether the first remark after the character ``end`` says nothing about an order."""
        begin = end + len(re.match(r"[\s`}\])\"'*_.,;:-]*", self.text[end:]).group())  # type: ignore[union-attr]
        stop = _SENTENCE_END.search(self.text, begin, begin + MAX_SENTENCE)
        bracketed = self.text[begin : begin + 1] == "("
        return self._understood(begin, stop.start() if stop else begin + MAX_SENTENCE, closed=not bracketed)

    def _understood(self, begin: int, end: int, closed: bool) -> bool:
        unknown = self._unknown(begin, end)
        if unknown and self._orders(begin, end):
            return False
        foreign = [word for word in unknown if word.text not in words.COMMON]
        # One letter is an article in several languages, so it shows no knowledge of the language.
        known = sum(len(word.text) > 1 or not word.text.isascii() for word in self._words(begin, end)) - len(foreign)
        return len(foreign) <= (2 if closed else 1) * known or (closed and len(foreign) < 2)

    def _sentence_before(self, start: int) -> tuple[int, int, bool]:
        """Return the span of the sentence before a ranking, and whether it ends with a full stop."""
        floor = max(0, start - MAX_SENTENCE)
        before = _FENCE_OPENS.sub("", self.text[floor:start].rstrip()).rstrip(_LEAD)
        closed = before.endswith((".", "!", "?", "。", "！", "？"))
        ends = list(_SENTENCE_END.finditer(before.rstrip(".!?。！？")))
        return floor + (ends[-1].end() if ends else 0), floor + len(before), closed

    def _words(self, begin: int, end: int) -> list[Token]:
        return [
            token
            for token in self.row[bisect_left(self._starts, begin) : bisect_left(self._starts, end)]
            if token.label is None and token.text[0].isalpha()
        ]

    def _unknown(self, begin: int, end: int) -> list[Token]:
        """Return the words that are neither plain nor part of a signal."""
        return [
            token
            for token in self._words(begin, end)
            if token.text not in words.PLAIN
            and token.text not in words.MERITS
            and not any(signal.start <= token.start < signal.end for signal in self.signals)
        ]

    def _orders(self, begin: int, end: int) -> bool:
        return any(token.text in _ORDERING or token.text in words.TURNED for token in self._words(begin, end))
