"""Clean text for terminals and pages, and suggestions for names that do not exist."""

import difflib
import re
from collections.abc import Iterable, Mapping

# Format controls that hide text or turn it round, and the "tag" letters that no font shows.
HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\U000e0000-\U000e007f]"
)


def plain_text(text: str) -> str:
    """Return the text with escape codes in place of characters that control a terminal or hide other characters."""
    lines = text.replace("\r\n", "\n")
    return _UNSEEN.sub(lambda match: f"\\u{ord(match.group()):04x}", lines)


# Hidden characters, and: a bare return, the C1 controls (U+009B begins a sequence, like ESC [), lone surrogates.
_UNSEEN = re.compile(f"{HIDDEN.pattern}|[\r\x80-\x9f\u2028\u2029\ud800-\udfff]")


def unstorable_part(text: str) -> str:
    """Return the first character that databases reject, with the fix; empty if the text has none.

    These are NUL and half a character: a lone surrogate.
    """
    if "\x00" in text:
        position = text.index("\x00") + 1
        return f"a NUL character (at character {position}), which PostgreSQL cannot store. Remove it."
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return (
            f"half a character (a lone surrogate, at character {error.start + 1}), which databases cannot store. Write "
            "the whole character, or remove it."
        )
    return ""


def storable_text(text: str) -> str:
    """Return the text with U+FFFD in place of characters that databases and files reject: NUL and lone surrogates."""
    whole = text.replace("\x00", "\ufffd")
    if whole.isascii():
        return whole  # almost all ids and names, several million in a large import
    return whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def did_you_mean(name: str, known: Iterable[str], shown: Mapping[str, str] | None = None) -> str:
    """Return `` Did you mean '...'?`` with the known name most like ``name``; empty if none is like it.

    Args:
        shown: the text to show for a known name; default: the name.
    """
    by_lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    if not close:
        return ""
    meant = by_lower[close[0]]
    return f" Did you mean '{shown[meant] if shown else meant}'?"
