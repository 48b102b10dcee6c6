"""Secrets and personal data: found in the forms that people write, and plain numbers left alone."""

from collections import Counter

import pytest

from cyclealign.prompt_import import read_source
from cyclealign.prompt_import.redaction import redact
from tests.support.prompt_files import written


def fake(*parts: str) -> str:
    """Join the parts of an invented secret, so that scanners of this repository do not take it for a real one."""
    return "".join(parts)


FOUND = {
    "mail a.b+c@sub.example.co.uk now": "mail [EMAIL] now",
    "müller@exämple.de": "[EMAIL]",
    fake("use sk-", "proj-abcDEF0123456789xyz please"): "use [KEY] please",
    fake("gh", "p_0123456789abcdefghijABCDEFGHIJ012345"): "[KEY]",
    fake("AK", "IAIOSFODNN7EXAMPLE"): "[KEY]",
    fake("ey", "JhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"): "[KEY]",
    "Authorization: Bearer 0a1b2c3d4e5f": "Authorization: Bearer [SECRET]",
    'API_KEY="q9w8e7r6t5"': 'API_KEY="[SECRET]"',
    "my password is hunter2hunter2!": "my password is [SECRET]",
    "postgres://me:s3cr3t@db/x": "postgres://me:[PASSWORD]@db/x",
    "DE89 3704 0044 0532 0130 00 is mine": "[IBAN] is mine",
    "GB82WEST12345698765432": "[IBAN]",
    "card 4111 1111 1111 1111.": "card [CARD].",
    "5500-0000-0000-0004": "[CARD]",
    "from 203.0.113.9:443": "from [IP]:443",
    "at 2001:db8::8a2e:370:7334,": "at [IP],",
    "call +49 171 1234567 or (555) 123-4567": "call [PHONE] or [PHONE]",
    "ruf 030 901820 30 an": "ruf [PHONE] an",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----": "[PRIVATE KEY]",
}
LEFT = [
    "the 4111111111111112 of nobody",  # fails Luhn
    "DE89370400440532013001",  # fails mod 97
    "version 1.2.3 of 2024-11-30 at 12:30:45",
    "999.999.999.999 and 127.0.0.1 and ::1 and std::vector",
    "pi is 3.14159265358979 and 1700000000000 ms",
    "@decorator and user@localhost",
    "the token: a word",
    "2 + 2 = 4, 100000 and 1,000,000",
    "task-management-and-planning-of-things",
]


@pytest.mark.parametrize(("text", "expected"), FOUND.items())
def test_forms_are_replaced_by_their_kind(text, expected):
    counts: Counter[str] = Counter()
    assert redact(text, counts) == expected
    assert counts.total() == expected.count("[")


@pytest.mark.parametrize("text", LEFT)
def test_plain_numbers_and_words_stay(text):
    """Prevents prompts about numbers, code and dates from losing their sense."""
    assert redact(text, Counter()) == text


@pytest.mark.parametrize(
    "piece",
    ["a@", "+1 ", "+11111 11111 11111 11111a", "1.2.", "4 ", "a.a@a.a-", "sk-", "ab:", "DE89 ", "token=", "x://"],
)
def test_a_long_hostile_text_is_read_to_its_end(piece):
    """Prevents a pattern that takes time in the square of the length: a megabyte would take hours."""
    assert redact(piece * (300_000 // len(piece)) + " me@example.org", Counter()).endswith(" [EMAIL]")


def test_redaction_is_repeated_without_effect():
    """Prevents marks from being taken for secrets, so that an import of an import changes ids."""
    once = redact("\n".join(FOUND), Counter())
    assert redact(once, Counter()) == once


def test_an_import_redacts_prompts_tool_calls_and_answers_and_counts(tmp_path):
    """Prevents a secret that stays in the answers, or in the arguments of a tool call."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"to": ["x@example.org"]}'}}
    turns = [
        {"role": "user", "content": "mail y@example.org"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "sent to x@example.org"},
    ]
    row = {"prompt": turns, "responses": ["to x@example.org", "to 203.0.113.9"], "scores": [2, 1]}
    imported = read_source(written(tmp_path, row), hold_out_labelled=True, redacted=True)
    assert "example.org" not in repr(imported)
    assert imported.labelled[0].answers == ("to [EMAIL]", "to [IP]")
    assert imported.remarks["Removed: e-mail addresses"] == 4
    assert imported.remarks["Removed: IP addresses"] == 1
