"""Human review: choosing uncertain lists, showing them, and parsing a reviewer's order."""

import dataclasses
from datetime import UTC, datetime
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclealign.errors import BadOrder
from cyclealign.judge import human_review
from cyclealign.records import Agreement, Demonstration, LabelledList, Message, Prompt, Ranking, Review
from cyclealign.text import plain_text

QUESTION = Prompt.of((Message(role="user", content="How?"),))
LETTERS = {"A": "a", "B": "b", "C": "c"}


def review(texts: dict[str, str], round_id: int = 1) -> Review:
    return Review(round_id, "trial", 1, QUESTION, texts, "why", "waiting", None, False, datetime.now(UTC))


def agreement(prompt_id: str, tau: float) -> Agreement:
    return Agreement(prompt_id, (), 0, 4, 1.0, tau)


def verdict(prompt_id: str, steadiness: float) -> Ranking:
    return Ranking(prompt_id, "judge", ("a", "b"), steadiness)


def test_a_list_is_uncertain_only_if_policy_and_judge_differ_and_the_judge_is_inconsistent():
    """Prevents reviewers' time from going to lists on which a consistent judge differs from the policy."""
    rows = [("steady", -1.0, 1.0), ("agreed", 1.0, 0.0), ("worst", -1.0, 0.0), ("bad", 0.0, 0.0), ("some", 0.0, 0.5)]
    verdicts = {name: verdict(name, steadiness) for name, _, steadiness in rows}
    found = human_review.most_uncertain([agreement(name, tau) for name, tau, _ in rows], verdicts, 9)
    assert [each.prompt_id for each in found] == ["worst", "bad", "some"]
    assert found[1].why == "uncertainty 0.50: tau of policy and judge 0.00, judge's steadiness 0.00"
    assert [each.prompt_id for each in human_review.most_uncertain([agreement("bad", 0.0)], verdicts, 0)] == []


def test_ties_in_uncertainty_are_broken_independently_of_the_order():
    """Prevents a resumed round from sending other lists to reviewers than before."""
    rows = [agreement(name, 0.0) for name in "abc"]
    verdicts = {name: verdict(name, 0.5) for name in "abc"}
    found = [human_review.most_uncertain(order, verdicts, 2) for order in permutations(rows)]
    assert all(each == found[0] for each in found)


def test_letters_are_stable_and_carry_no_information_about_the_order():
    """Prevents an order from being applied to other answers than were shown, and the best answer always being A."""
    texts = {"best": "x", "middle": "y", "worst": "z"}
    assert human_review.letters_of(review(texts)) == human_review.letters_of(review(dict(reversed(texts.items()))))
    under_a = {human_review.letters_of(review(texts, round_id))["A"] for round_id in range(30)}
    assert under_a == set(texts)


@pytest.mark.parametrize("text", ["C A B", "cab", "c,a,b", " C > A > B ", "C; A; B."])
def test_an_order_is_parsed_from_common_notations(text):
    """Prevents an unambiguous order from being rejected."""
    assert human_review.parse_order(text, LETTERS) == ("c", "a", "b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A B", "left out: C"),
        ("A B C A", "more than once: A"),
        ("A B C D", "no such answer: D"),
        ("A = B C", "ties"),
        ("1 2 3", "only the letters"),
        ("", "left out: A, B, C"),
    ],
)
def test_an_invalid_order_is_rejected_with_its_problem(text, says):
    """Prevents a typing error from becoming a gold label."""
    with pytest.raises(BadOrder, match=says):
        human_review.parse_order(text, LETTERS)


@given(st.permutations(list(LETTERS)))
def test_a_formatted_order_can_be_parsed_back(letters):
    """Prevents an order from being shown with other letters than it is parsed with."""
    order = tuple(LETTERS[each] for each in letters)
    assert human_review.parse_order(human_review.format_order(order, LETTERS), LETTERS) == order


@given(st.text(alphabet="`~ab\n \x1b<", max_size=40))
def test_no_text_closes_its_block(text):
    """Prevents an answer from leaving its block, where its text would be markup or look like another answer."""
    fence, *middle, end = human_review.code_block(text).split("\n")
    marks = fence.removesuffix("text")
    assert end == marks
    assert all(marks not in line for line in middle)


@given(st.text(alphabet="ab \n", max_size=200))
def test_wrapping_long_lines_loses_no_text(text):
    """Prevents a reviewer from judging an answer that is partly hidden or lost."""
    lines = human_review.code_block(text).split("\n")[1:-1]
    assert "".join(lines) == text.replace("\n", "")
    assert all(len(line) <= human_review.PAGE_COLUMNS for line in lines)


def test_a_page_shows_each_list_with_its_number_and_problem():
    """Prevents answers under other letters than are parsed, and orders that are rejected without a message."""
    asked = review({"x": "one `````", "y": "<b>two</b>\x1b[2J"})
    page = human_review.review_page([asked], {QUESTION.id: "left out: B"})
    first = human_review.letters_of(asked)["A"]
    assert page.index("**A**") < page.index(plain_text(asked.answers[first])) < page.index("**B**")
    assert "## List 1\n\n**Your order was not accepted.** left out: B" in page
    assert "\x1b" not in page


@pytest.mark.parametrize("code", ["\x1b[31mred", "\x9b31m", "\x07", "back\x08", "over\rwritten", "a\u202eb", "\ud800"])
def test_terminal_control_characters_are_shown_escaped(code):
    """Prevents an answer from clearing the screen or showing a reviewer other text than was stored."""
    shown = plain_text(f"{code} and more\n\ttext\r\n")
    assert shown.isprintable() or set(shown) - {"\n", "\t"} == {each for each in shown if each.isprintable()}
    assert "\\u" in shown
    assert shown.endswith(" and more\n\ttext\n")


def prompt_detail(person, judge, policy):
    rankings = {"judge": {"order": judge}, "policy": {"order": policy}}
    return {"review": person and {"verdict": person}, "rankings": rankings}


def test_judge_and_policy_are_compared_on_reviewed_lists_only():
    """Prevents unreviewed lists from counting, and the judge's metric from being swapped with the policy's."""
    details = [
        prompt_detail(["a", "b", "c"], ["a", "b", "c"], ["c", "b", "a"]),
        prompt_detail(["a", "b", "c"], ["a", "c", "b"], ["c", "a", "b"]),
        prompt_detail(None, ["c", "b", "a"], ["c", "b", "a"]),
    ]
    judge, policy = human_review.human_agreement(details)
    assert (judge.name, judge.value, judge.count) == ("judge_against_people", pytest.approx(5 / 6), 2)
    assert (policy.name, policy.value) == ("policy_against_people", pytest.approx(1 / 6))
    assert human_review.human_agreement(details[2:]) == []


def test_a_review_is_summarized_by_the_judge_s_ranks():
    """Prevents a history that does not show whether a review was used in training."""
    asked = {"verdict": ["y", "x"], "learnt": True, "status": "answered", "why": "unsure"}
    assert human_review.review_summary(asked, {"x": 1, "y": 2}) == "a reviewer ranked: 2 1 (used in training; unsure)"
    waiting = {**asked, "verdict": None, "status": "waiting"}
    assert human_review.review_summary(waiting, {}) == "sent to reviewers: waiting (unsure)"


def test_each_question_is_exported_once():
    """Prevents a demonstrations file that gains the same lists at each export."""
    first = LabelledList(QUESTION, ("x", "y"), "review")
    again = dataclasses.replace(first, answers=("y", "x"))
    assert human_review.new_lists([first, again], []) == [first]
    assert human_review.new_lists([first], [Demonstration.of("How?", ("p", "q"), "static")]) == []
