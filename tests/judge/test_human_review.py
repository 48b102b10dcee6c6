"""Which lists are worth a person's time, how they are shown, and what a person's order means."""

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


def test_a_list_is_doubtful_only_where_policy_and_judge_differ_and_the_judge_wavers():
    """Prevents people's time from going to lists on which a steady judge merely differs from the policy."""
    rows = [("steady", -1.0, 1.0), ("agreed", 1.0, 0.0), ("worst", -1.0, 0.0), ("bad", 0.0, 0.0), ("some", 0.0, 0.5)]
    verdicts = {name: verdict(name, steadiness) for name, _, steadiness in rows}
    found = human_review.most_uncertain([agreement(name, tau) for name, tau, _ in rows], verdicts, 9)
    assert [each.prompt_id for each in found] == ["worst", "bad", "some"]
    assert found[1].why == "uncertainty 0.50: tau of policy and judge 0.00, judge's steadiness 0.00"
    assert [each.prompt_id for each in human_review.most_uncertain([agreement("bad", 0.0)], verdicts, 0)] == []


def test_equal_doubts_are_chosen_alike_whatever_their_order():
    """Prevents a resumed round from asking people for other lists than it asked for at first."""
    rows = [agreement(name, 0.0) for name in "abc"]
    verdicts = {name: verdict(name, 0.5) for name in "abc"}
    found = [human_review.most_uncertain(order, verdicts, 2) for order in permutations(rows)]
    assert all(each == found[0] for each in found)


def test_letters_stay_with_their_answers_and_tell_nothing_of_the_order():
    """Prevents a person's order from being read for other answers than were shown, and a best answer always under A."""
    texts = {"best": "x", "middle": "y", "worst": "z"}
    assert human_review.letters_of(review(texts)) == human_review.letters_of(review(dict(reversed(texts.items()))))
    under_a = {human_review.letters_of(review(texts, round_id))["A"] for round_id in range(30)}
    assert under_a == set(texts)


@pytest.mark.parametrize("text", ["C A B", "cab", "c,a,b", " C > A > B ", "C; A; B."])
def test_an_order_is_read_as_people_type_it(text):
    """Prevents an answer that anybody would understand from being sent back."""
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
def test_a_wrong_order_is_refused_and_says_why(text, says):
    """Prevents a slip of the finger from becoming a gold label."""
    with pytest.raises(BadOrder, match=says):
        human_review.parse_order(text, LETTERS)


@given(st.permutations(list(LETTERS)))
def test_what_is_shown_of_an_order_can_be_typed_back(letters):
    """Prevents an order from being shown in other letters than it is read in."""
    order = tuple(LETTERS[each] for each in letters)
    assert human_review.parse_order(human_review.format_order(order, LETTERS), LETTERS) == order


@given(st.text(alphabet="`~ab\n \x1b<", max_size=40))
def test_no_text_closes_its_block(text):
    """Prevents an answer from leaving its block on the page, where its words would be markup or another answer."""
    fence, *middle, end = human_review.code_block(text).split("\n")
    marks = fence.removesuffix("text")
    assert end == marks
    assert all(marks not in line for line in middle)


@given(st.text(alphabet="ab \n", max_size=200))
def test_breaking_long_lines_loses_no_word(text):
    """Prevents a person from judging an answer of which a part is out of sight, or gone."""
    lines = human_review.code_block(text).split("\n")[1:-1]
    assert "".join(lines) == text.replace("\n", "")
    assert all(len(line) <= human_review.PAGE_COLUMNS for line in lines)


def test_a_page_shows_each_list_under_its_number_with_what_was_wrong():
    """Prevents answers that stand under another letter than the one that is read, and an order refused in silence."""
    asked = review({"x": "one `````", "y": "<b>two</b>\x1b[2J"})
    page = human_review.review_page([asked], {QUESTION.id: "left out: B"})
    first = human_review.letters_of(asked)["A"]
    assert page.index("**A**") < page.index(plain_text(asked.answers[first])) < page.index("**B**")
    assert "## List 1\n\n**Your order was not accepted.** left out: B" in page
    assert "\x1b" not in page


@pytest.mark.parametrize("code", ["\x1b[31mred", "\x9b31m", "\x07", "back\x08", "over\rwritten", "a\u202eb", "\ud800"])
def test_text_that_steers_a_terminal_is_shown_as_its_code(code):
    """Prevents an answer from clearing the screen, or from showing a person other words than were written."""
    shown = plain_text(f"{code} and more\n\ttext\r\n")
    assert shown.isprintable() or set(shown) - {"\n", "\t"} == {each for each in shown if each.isprintable()}
    assert "\\u" in shown
    assert shown.endswith(" and more\n\ttext\n")


def prompt_detail(person, judge, policy):
    rankings = {"judge": {"order": judge}, "policy": {"order": policy}}
    return {"review": person and {"verdict": person}, "rankings": rankings}


def test_judge_and_policy_are_measured_on_the_lists_that_people_ranked():
    """Prevents lists without a person's verdict from counting, and the judge's figure from being the policy's."""
    details = [
        prompt_detail(["a", "b", "c"], ["a", "b", "c"], ["c", "b", "a"]),
        prompt_detail(["a", "b", "c"], ["a", "c", "b"], ["c", "a", "b"]),
        prompt_detail(None, ["c", "b", "a"], ["c", "b", "a"]),
    ]
    judge, policy = human_review.human_agreement(details)
    assert (judge.name, judge.value, judge.count) == ("judge_against_people", pytest.approx(5 / 6), 2)
    assert (policy.name, policy.value) == ("policy_against_people", pytest.approx(1 / 6))
    assert human_review.human_agreement(details[2:]) == []


def test_what_a_person_said_is_told_by_the_places_of_the_judge():
    """Prevents a history in which nobody can tell whether training heard the person."""
    asked = {"verdict": ["y", "x"], "learnt": True, "status": "answered", "why": "unsure"}
    assert human_review.review_summary(asked, {"x": 1, "y": 2}) == "a reviewer ranked: 2 1 (used in training; unsure)"
    waiting = {**asked, "verdict": None, "status": "waiting"}
    assert human_review.review_summary(waiting, {}) == "sent to reviewers: waiting (unsure)"


def test_a_question_is_exported_once():
    """Prevents a file of demonstrations that grows by the same lists at each export."""
    first = LabelledList(QUESTION, ("x", "y"), "review")
    again = dataclasses.replace(first, answers=("y", "x"))
    assert human_review.new_lists([first, again], []) == [first]
    assert human_review.new_lists([first], [Demonstration.of("How?", ("p", "q"), "static")]) == []
