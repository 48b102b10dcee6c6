"""One request and its reply: repair, or a longer reply where one was cut off."""

import asyncio
from dataclasses import replace

import pytest

from cyclealign.judge.templates import load_template
from cyclealign.judge.verdicts import ask_with_repair
from cyclealign.records import FailedCall
from tests.judge.test_methods import call, honest_reply, reply
from tests.judge.test_templates import PROMPTS

BEST_FIRST = ("id-c", "id-a", "id-d", "id-b")


def ask(*replies):
    """Return the parsed reply to a call, and the calls sent; a reply may be a function of its call."""
    sent, left = [], list(replies)

    async def ask_judge(asked):
        sent.append(asked)
        given = left.pop(0)
        return given(asked) if callable(given) else given

    asked = replace(call(), parameters=(("max_tokens", 256), ("temperature", 0.0)))
    return asyncio.run(ask_with_repair(ask_judge, load_template(PROMPTS, "rank"), asked)), sent


@pytest.mark.parametrize("text", ['{"ranking": ["K', "<think>First the second answer", "So far I like"])
def test_a_reply_that_was_cut_off_is_asked_for_again_with_a_larger_limit(text):
    """Prevents a repair request, which is cut off at the same place and paid for again."""
    found, sent = ask(replace(reply(text), finish_reason="length"), lambda asked: honest_reply(asked, BEST_FIRST))
    assert [item for (item,) in found.verdict] == list(BEST_FIRST)
    assert sent[1].messages == sent[0].messages
    assert dict(sent[1].parameters) == {"max_tokens": 2048, "temperature": 0.0}
    assert "judge.max_tokens" in found.problems[0][1]


def test_a_cut_reply_that_can_be_read_counts():
    """Prevents paying twice for a verdict that is there, with a remark after it."""
    found, sent = ask(lambda asked: replace(honest_reply(asked, BEST_FIRST), finish_reason="length"))
    assert [item for (item,) in found.verdict] == list(BEST_FIRST)
    assert len(sent) == 1


def test_a_failed_call_gives_the_providers_words():
    """Prevents an unjudged prompt without a reason."""
    found, _ = ask(FailedCall("Status 403: flagged"))
    assert found.problems[0][1] == "The call failed: Status 403: flagged"
