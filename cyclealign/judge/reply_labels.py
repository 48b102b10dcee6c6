"""The labels of a request as they occur in replies: with another letter case, in brackets, after "Answer"."""

import re
from collections.abc import Sequence

WRAPPING = " \t\n\"'`*_[](){}"
CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
# Any word that may be a label. One pattern for all requests: to compile one for each takes longer than to use it.
WORD = rf"(?<![^\W_{CJK}])[^\W_{CJK}]+"
_WORD = re.compile(WORD)


class Labels:
    """The labels shown in one request. Letter case is ignored if the labels stay distinct without it."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.shown = tuple(labels)
        self._label_of = {label.casefold(): label for label in labels}
        self._ignore_case = len(self._label_of) == len(set(labels))

    def canonical(self, text: str) -> str | None:
        """Return the label that the text is, or None."""
        if text in self.shown:
            return text
        return self._label_of.get(text.casefold()) if self._ignore_case else None

    def inside(self, text: str) -> list[str]:
        """Return the labels in the text, in its order."""
        return [label for word in _WORD.findall(text) if (label := self.canonical(word))]
