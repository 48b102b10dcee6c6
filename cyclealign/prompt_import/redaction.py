"""Secrets and personal data in prompts, found by rule and replaced by their kind in brackets.

Rules find what has a form: they miss names, addresses, and anything that is disguised.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from cyclealign.records import Message, Messages


class Rule(NamedTuple):
    """A kind of text to replace: its mark, its name in counts, its pattern, and a check of what the pattern found.

    Only the group ``value`` of a pattern is replaced if it has one. Quantifiers are bounded or possessive, so that a
    long text takes time in proportion to its length.
    """

    mark: str
    name: str
    pattern: re.Pattern[str]
    check: Callable[[str], bool] = lambda found: True


def passes_luhn(found: str) -> bool:
    """Return whether digits are a number of a payment card: 13 to 19, with a first digit of a network, by Luhn."""
    digits = [int(sign) for sign in found if sign.isdigit()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (2, 3, 4, 5, 6) or len(set(digits)) == 1:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def is_iban(found: str) -> bool:
    """Return whether a text is an IBAN, by its length and ISO 7064's remainder (mod 97)."""
    compact = "".join(found.split()).upper()
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(sign, 36)) for sign in compact[4:] + compact[:4])) % 97 == 1


def is_address(found: str) -> bool:
    """Return whether a text is an IP address of some machine: neither unspecified nor loopback."""
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return False
    return not address.is_unspecified and not address.is_loopback


def is_phone(found: str) -> bool:
    """Return whether the digits are as many as those of a phone number (E.164: at most 15)."""
    return 9 <= sum(sign.isdigit() for sign in found) <= 15


KEYS = r"""(?x)(?<![A-Za-z0-9_-])(?:
    sk-(?:ant-|proj-|or-|live-)?[A-Za-z0-9_-]{16,200}+ | (?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,200}+
  | gh[pousr]_[A-Za-z0-9]{30,255}+ | github_pat_[A-Za-z0-9_]{30,255}+ | glpat-[A-Za-z0-9_-]{16,200}+
  | xox[abeoprs]-[A-Za-z0-9-]{10,250}+ | (?:AKIA|ASIA)[A-Z0-9]{16} | AIza[A-Za-z0-9_-]{30,60}+
  | hf_[A-Za-z0-9]{30,80}+ | npm_[A-Za-z0-9]{36,60}+ | pypi-[A-Za-z0-9_-]{50,300}+
  | eyJ[A-Za-z0-9_-]{8,8000}+\.[A-Za-z0-9_-]{8,8000}+\.[A-Za-z0-9_-]{8,8000}+
)"""
NAMED = (
    r"(?i)(?<![a-z0-9])(?:api[_-]?key|apikey|access[_-]?token|auth[_-]?token|client[_-]?secret|secret[_-]?key|secret|"
    r"token|password|passwd|pwd|bearer)[\"']?\s{0,3}(?:[:=]|\bis\b|(?<=bearer))\s{0,3}[\"']?"
    r"(?P<value>(?=[^\s\"',;]{0,199}[0-9])[^\s\"',;\[\]]{8,200}+)"
)
RULES = (
    Rule(
        "[PRIVATE KEY]",
        "private keys",
        re.compile(
            r"-----BEGIN (?:[A-Z]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----[^-]{0,20000}+(?:-----END [A-Z ]{1,40}-----)?"
        ),
    ),
    Rule(
        "[PASSWORD]",
        "passwords in addresses",
        re.compile(r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{1,20}://[^\s:/@]{0,100}:(?P<value>[^\s/@]{1,200})@"),
    ),
    Rule("[KEY]", "keys and tokens", re.compile(KEYS)),
    Rule("[SECRET]", "values named key, token or password", re.compile(NAMED)),
    Rule(
        "[EMAIL]",
        "e-mail addresses",
        re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}+@(?:[^\W_](?:[\w-]{0,62}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-])"),
    ),
    Rule(
        "[IBAN]",
        "IBANs",
        re.compile(
            r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?(?![A-Za-z0-9])"
        ),
        is_iban,
    ),
    Rule("[CARD]", "card numbers", re.compile(r"(?<![0-9.-])[2-6](?:[ -]?[0-9]){12,18}(?![0-9])"), passes_luhn),
    Rule("[IP]", "IP addresses", re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w]|\.[0-9])"), is_address),
    Rule(
        "[IP]",
        "IP addresses",
        re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f:]{0,45}[0-9])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?![\w:])"),
        is_address,
    ),
    Rule(
        "[PHONE]",
        "phone numbers",
        re.compile(
            r"(?<![\w.+/=-])(?:(?:\+|00)[1-9][0-9]{0,3}(?:[ ./-]?\(?[0-9]{1,5}+\)?){2,6}+"
            r"|\(?[0-9]{3}\)?[ .-][0-9]{3}[ .-][0-9]{4}"
            r"|\(?0[0-9]{2,5}\)?[ /-][0-9]{2,4}+(?:[ -]?[0-9]{2,4}+){1,3}+)(?![\w])"
        ),
        is_phone,
    ),
)


def redact(text: str, counts: Counter[str]) -> str:
    """Return the text without secrets and personal data that the rules find; ``counts`` gets their number by name."""
    for rule in RULES:
        text = rule.pattern.sub(lambda match, rule=rule: _replaced(match, rule, counts), text)  # type: ignore[misc]
    return text


def redact_messages(messages: Messages, counts: Counter[str]) -> Messages:
    """Return turns with contents and arguments of tool calls redacted."""
    return tuple(cast(Message, _deep({**turn}, counts)) for turn in messages)


def _deep(value: Any, counts: Counter[str]) -> Any:
    if isinstance(value, str):
        return redact(value, counts)
    if isinstance(value, dict):
        return {name: _deep(part, counts) for name, part in value.items()}
    return [_deep(part, counts) for part in value] if isinstance(value, list) else value


def _replaced(match: re.Match[str], rule: Rule, counts: Counter[str]) -> str:
    part = "value" if "value" in rule.pattern.groupindex else 0
    found = match.group(part)
    if not rule.check(found):
        return match.group()
    counts[rule.name] += 1
    start, end = match.start(part) - match.start(), match.end(part) - match.start()
    return match.group()[:start] + rule.mark + match.group()[end:]
