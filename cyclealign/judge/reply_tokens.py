"""Split a reply into words, labels, numbers and signs, and mark those that judge the quality of an answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cyclealign.judge import direction_words as words
from cyclealign.judge.direction_words import Words
from cyclealign.judge.reply_labels import CJK, WORD, Labels


@dataclass(frozen=True)
class Token:
    """A casefolded word, label, number or sign of the reply."""

    text: str
    start: int
    end: int
    label: str | None = None
    # 1: good, -1: bad, 0: neither. ``sure`` says that the word means the quality of an answer; ``most`` that no other
    # word is needed to see this as an end of a list.
    side: int = 0
    sure: bool = True
    superlative: bool = False

    @property
    def stops(self) -> bool:
        return self.text in words.SENTENCE_ENDS or self.text == "\n\n" or self.label is not None


_TERMS = sorted(
    (
        term
        for group in vars(words).values()
        if isinstance(group, Words)
        for term in group.all
        if re.match(f"[{CJK}]", term)
    ),
    key=len,
    reverse=True,
)
_TOKEN = re.compile(rf"(?P<word>{WORD})|{'|'.join(map(re.escape, _TERMS))}|[{CJK}]|\.{{2,}}|->|=>|\n\s*\n|\n|[^\w\s]")
_PART = re.compile(r"[^\W\d_]+|\d+")
_DRESS = str.maketrans(dict.fromkeys("*_`~\"'\\«»“”„‘’", " "))


def tokens(text: str, labels: Labels) -> list[Token]:
    """Return the reply's tokens; emphasis and quotation marks are left out."""
    found: list[Token] = []
    for match in _TOKEN.finditer(text.translate(_DRESS)):
        start, word = match.start(), match.group()
        if label := labels.canonical(word):
            found.append(Token(word.casefold(), start, match.end(), label))
        elif match["word"]:
            parts = _PART.finditer(word)
            found += [Token(part.group().casefold(), start + part.start(), start + part.end()) for part in parts]
        else:
            found.append(Token("\n\n" if word.count("\n") > 1 else word, start, match.end()))
    return [_judged(found, at) for at in range(len(found))]


def _judged(found: Sequence[Token], at: int) -> Token:
    """Return the token with its side: good, bad or neither."""
    token = found[at]
    after = [later.text for later in found[at + 1 : at + 5]]

    def sided(side: int, sure: bool = True, superlative: bool = False) -> Token:
        return Token(token.text, token.start, token.end, None, side, sure, superlative)

    before = found[at - 1].text if at else ""
    if token.label is not None or ((before in words.MOST or before in words.LEAST) and token.text in words.MERITS):
        return token
    if token.text in words.MOST or token.text in words.LEAST:
        # "least to most helpful" names the merit once, after the second word.
        merit = any(word in words.MERITS for word in after[:1]) or (
            any(word in words.TO for word in after[:1]) and any(word in words.MERITS for word in after[2:])
        )
        return sided(1 if token.text in words.MOST else -1, merit, True)
    for group, side, sure, superlative in (
        (words.WORST, -1, True, True),
        (words.BEST, 1, True, True),
        (words.POOR, -1, True, False),
        (words.GOOD, 1, True, False),
        (words.LOW, -1, False, True),
        (words.HIGH, 1, False, True),
    ):
        if token.text in group:
            return sided(side, sure, superlative)
    return token
