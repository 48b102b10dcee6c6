"""What the judge is asked, and what becomes of its replies. The judge here is a hand-written fake."""

import asyncio
import json
import random
from pathlib import Path

import pytest

from cyclealign import judging
from cyclealign.prompting import load_template
from cyclealign.records import Demonstration, Prompt, Reply

PROMPT = Prompt.of(({"role": "user", "content": "Which is best?"},))
TEXTS = {"id-a": "the first answer", "id-b": "the second answer", "id-c": "the third answer", "id-d": "the fourth"}
DEMONSTRATIONS = [
    Demonstration.of("How do I boil an egg?", ("For eight minutes.", "No idea.", "Go away."), "static"),
    Demonstration.of("How do I open this lock?", ("I cannot help with that.", "With a hammer."), "dynamic"),
]


def manner(seed=1):
    template = load_template(Path(__file__).parent.parent / "prompts", "rank")
    return judging.Manner(template, "fake", (("temperature", 0.0),), seed)


def call(number=0, seed=1, texts=TEXTS):
    return judging.rank_call(manner(seed), "rank", PROMPT.id, PROMPT.text, texts, DEMONSTRATIONS, number)


def reply(text):
    return Reply(text, "fake", 10, 5, 0.0, 0.1)


def honest_reply(asked, best_first):
    label_of = {item: label for label, item in asked.shown}
    return reply(json.dumps({"ranking": [label_of[item] for item in best_first]}))


def test_the_same_question_is_the_same_request():
    """Prevents a resumed run from paying again for what it has asked."""
    assert call().key == call().key
    assert call(texts=dict(reversed(TEXTS.items()))).key == call().key


def test_another_order_seed_or_answer_is_another_request():
    """Prevents a stored reply from answering for a question that was never asked."""
    keys = [call().key, call(1).key, call(2).key, call(seed=2).key, call(texts={**TEXTS, "id-a": "changed"}).key]
    assert len(set(keys)) == len(keys)


def test_the_second_order_is_the_reverse_of_the_first():
    """Prevents a judge's liking for the first place from deciding: an order and its reverse cancel it."""
    first, second = ([item for _, item in call(number).shown] for number in (0, 1))
    assert first == second[::-1]


def test_answers_are_shown_in_many_orders():
    """Prevents the place of an answer from following its id, its log-prob or its quality."""
    orders = {tuple(item for _, item in call(0, seed).shown) for seed in range(60)}
    assert len(orders) > 15
    assert len({order[0] for order in orders}) == 4


def test_demonstrations_show_their_best_in_varying_places():
    """Prevents the demonstrations from teaching the judge a place instead of a quality."""
    places = set()
    for seed in range(20):
        shown, _ = judging.show(DEMONSTRATIONS, seed)
        places.add([answer.label for answer in shown[0].answers].index(shown[0].ranking[0]))
        texts = {answer.label: answer.text for answer in shown[0].answers}
        assert [texts[label] for label in shown[0].ranking] == list(DEMONSTRATIONS[0].answers)
    assert places == {0, 1, 2}


def test_the_fixed_part_is_the_same_for_every_question_of_a_round():
    """Prevents a provider's prompt cache from missing on every call."""
    other = judging.rank_call(manner(), "rank", "other", "Another question", {"x": "1", "y": "2"}, DEMONSTRATIONS, 1)
    assert call().messages[0] == other.messages[0]


def test_a_fence_occurs_in_no_text():
    """Prevents an answer that guessed the delimiter from closing its own block."""
    taken = f"{random.Random(5).getrandbits(48):012x}"
    assert judging.draw_fence([f"... {taken} ..."], random.Random(5)) != taken


def test_verdicts_are_matched_by_label_not_by_place():
    """Prevents the fault of well-known trainers: scores zipped to answers in the order in which they came back."""
    best_first = ("id-c", "id-a", "id-d", "id-b")
    for number in range(4):
        asked = call(number)
        assert judging.verdict(asked, honest_reply(asked, best_first)) == best_first


def opinions(calls, replies):
    """What is read of the replies, by key of the call; a call that is not among them has failed."""

    async def asker(asked):
        return replies.get(asked.key)

    return asyncio.run(judging.verdicts_on(asker, calls))


def judged(calls, replies):
    return judging.judged(PROMPT.id, opinions(calls, replies), asked=len(calls))


def test_no_readable_reply_is_no_ranking():
    """Prevents a failed judge call from becoming a label."""
    calls = [call(0), call(1)]
    assert judged(calls, {}) is None
    assert judged(calls, {calls[0].key: reply("all are fine"), calls[1].key: reply("{}")}) is None


def test_one_readable_verdict_of_two_counts_but_is_not_called_steady():
    calls = [call(0), call(1)]
    best_first = ("id-c", "id-a", "id-d", "id-b")
    made = judged(calls, {calls[0].key: honest_reply(calls[0], best_first), calls[1].key: reply("?")})
    assert made.order == best_first
    assert made.steadiness == 0.5


def test_a_judge_that_likes_the_first_place_is_cancelled():
    """Prevents pure position bias from looking like a preference: the two orders contradict each other fully."""
    calls = [call(0), call(1)]
    replies = {each.key: reply(json.dumps({"ranking": [label for label, _ in each.shown]})) for each in calls}
    assert judged(calls, replies).steadiness == 0


@pytest.mark.parametrize("count", [2, 16])
def test_labels_differ(count):
    assert len(set(judging.draw_labels(count, random.Random(0)))) == count
