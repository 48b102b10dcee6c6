"""Attempts to manipulate the judge: detection in answers, and sanitizing of the text that the judge is shown.

Detection decides nothing about an answer; it flags it for human review. Verdicts are protected by delimiters that
cannot be forged, shuffled labels, and a parser that accepts no quoted verdict.
"""

import re
import unicodedata
from collections.abc import Mapping

from cyclealign.text import HIDDEN

EXCERPT_CHARACTERS = 80

# Control tokens of chat templates: a judge's tokenizer may interpret them even inside an answer.
ROLE_TOKEN = re.compile(
    r"<[|\uff5c][^<>\n]{1,40}[|\uff5c]>|\[/?(?:INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS)\]|<</?SYS>>"
    r"|</?s>|<(?:bos|eos|pad|start_of_turn|end_of_turn)>",
    re.IGNORECASE,
)

_SELF = (
    r"(?:me|this (?:one|answer|response|reply|text)|my (?:answer|response|reply)|the (?:answer|text) (?:above|below))"
)
_TOP = r"(?:first|top|best|highest|winner|number one|no\. ?1|#1|1st|10/10|place 1|above (?:all|the) others?)"
_PLACE = r"(?:rank|rate|score|place|put|choose|pick|select|prefer|vote for|mark|list|crown)"
_TO_BE = r"(?:should|must|has to|deserves to|is to|needs to) (?:be|come|go|stand|rank)"
_OTHERS = r"(?:all |the |every )?(?:others?|other answers|rest)"
_BOTTOM = r"(?:last|below|lowest|bottom)"
_BINDING = r"(?:instructions?|rules?|rubric|criteria|guidelines?|prompts?|orders?|marks?|delimiters?)"
_JUDGE = r"(?:judge|grader|evaluator|rater|ranker|ranking model|assessor)"
_ROLE = r"(?:answer|response|candidate|question|system|user|assistant|instructions?)"
_WRONG = r"(?:wrong|incorrect|harmful|unsafe|plagiari[sz]ed|invalid)"
_PROVEN = r"(?:verified|certified|approved|pre-?approved|rated|graded|judged|confirmed)"
_LABEL = r"\b[A-Z]{1,3}\d\b"

_PATTERNS: Mapping[str, tuple[str, ...]] = {
    "asks for a place": (
        rf"\b{_PLACE}\b[^.\n]{{0,30}}\b{_SELF}\b[^.\n]{{0,40}}\b{_TOP}\b",
        rf"\b{_SELF} {_TO_BE}\b[^.\n]{{0,30}}\b{_TOP}\b",
        rf"\b{_PLACE} {_OTHERS}\b[^.\n]{{0,30}}\b{_BOTTOM}\b",
    ),
    "speaks to the judge": (
        rf"\b(?:dear|attention|hey|hello|(?:note|message|instructions?) (?:to|for))[,: ]+(?:the )?{_JUDGE}\b",
        rf"\bas (?:the|a|an) (?:\w+ )?{_JUDGE}\b",
        rf"\b{_JUDGE}[,:] (?:please|you)\b",
    ),
    "sets instructions aside": (
        rf"\b(?:ignore|disregard|forget|override|bypass|set aside|do not follow)\b[^.\n]{{0,40}}\b{_BINDING}\b",
        r"\bnew (?:system )?(?:instructions?|task|rules?)\s*:",
        r"忽略(?:以上|之前|前面)|\bignor(?:iere|iert|a|ez|e) (?:alle|todas|tutte|toutes)\b",
    ),
    "imitates a reply": (
        r"[\"'{]\s*[\"']?(?:ranking|verdict|winner|reasons)[\"']?\s*:",
        r"\b(?:final|correct|true|my|official) (?:ranking|verdict)\b",
        rf"(?:{_LABEL}\s*(?:>|≻)\s*)+{_LABEL}",
    ),
    "imitates a delimiter": (
        r"\[\[\s*/?\s*(?:question|answer|turn|example|system|instruction)",
        rf"^\s*</?{_ROLE}\b[^>\n]{{0,40}}>",
        r"^\W{0,6}(?:end|begin|start) of (?:the )?(?:answers?|question|candidates?|input|material|text)\b",
    ),
    "imitates a turn": (r"^\W{0,4}(?:system|assistant|user|developer|judge|human)\W{0,4}:",),
    "imitates an example": (r"^\W{0,4}example \d+\b",),
    "claims a verdict": (
        rf"\b(?:this|the above|my) (?:answer|response|reply)\b[^.\n]{{0,30}}\b{_PROVEN}\b",
        rf"\b(?:all |the )?other (?:answers?|responses?)\b[^.\n]{{0,30}}\b{_WRONG}\b",
    ),
    "hides code": (r"[A-Za-z0-9+/]{48,}={0,2}",),
}
SIGNALS: Mapping[str, re.Pattern[str]] = {
    kind: re.compile("|".join(patterns), re.IGNORECASE | re.MULTILINE) for kind, patterns in _PATTERNS.items()
}
# Content-free openings that some judges rate highly (Zhao et al., arXiv 2507.08794).
EMPTY = re.compile(
    r"\W*|\W*(?:thought process|solution|let'?s (?:solve|think)[^.:\n]{0,60}|step by step|final answer|answer)\W*",
    re.IGNORECASE,
)


def attack_signals(text: str) -> dict[str, str]:
    """Return an answer's attack signals: kind -> excerpt of the matching text. Most answers have none."""
    signals = {kind: match.group() for kind, pattern in _RAW_SIGNALS.items() if (match := pattern.search(text))}
    plain = unicodedata.normalize("NFKC", HIDDEN.sub("", text))
    signals |= {kind: match.group() for kind, pattern in SIGNALS.items() if (match := pattern.search(plain))}
    if EMPTY.fullmatch(plain.strip()):
        signals["says nothing"] = plain.strip()
    return {kind: _excerpt(match) for kind, match in signals.items()}


# Searched in the text as it is; the others after normalization, which removes these.
_RAW_SIGNALS = {"role token": ROLE_TOKEN, "hidden characters": HIDDEN}


def _excerpt(text: str) -> str:
    """Return the text on one line, truncated, with hidden characters escaped."""
    shown = HIDDEN.sub(lambda match: f"\\u{ord(match.group()):04x}", " ".join(text.split()))
    return shown if len(shown) <= EXCERPT_CHARACTERS else shown[: EXCERPT_CHARACTERS - 3] + "..."


def sanitized(text: str) -> str:
    """Return the text as shown to the judge: without hidden characters, and with role tokens broken by a space.

    Everything else stays unchanged.
    """
    visible = HIDDEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    while ROLE_TOKEN.search(visible):
        visible = ROLE_TOKEN.sub(lambda match: f"{match.group()[0]} {match.group()[1:]}", visible)
    return visible
