"""Ranked answers: pairs, lists with ranks or scores, Argilla's records; what is left out is counted."""

import pytest

from cyclealign.errors import BadPrompts
from tests.support.prompt_files import read_one, turns_of

ASKED = {"role": "user", "content": "q"}


def said(*words: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": word} for word in words]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": " q", "chosen": "good", "rejected": "bad"},
        {"question": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": [ASKED], "chosen": said("good"), "rejected": said("bad")},
        {"prompt": "q", "chosen": [ASKED, *said("good")], "rejected": [ASKED, *said("bad")]},
        {"chosen": [ASKED, *said("good")], "rejected": [ASKED, *said("bad")]},
        {
            "prompt": "q",
            "messages": [ASKED, *said("good")],
            "chosen": [ASKED, *said("good")],
            "rejected": [ASKED, *said("bad")],
        },
        {"chosen": "\n\nHuman: q\n\nAssistant: good", "rejected": "\n\nHuman: q\n\nAssistant: bad"},
        {"prompt": "q", "responses": ["bad", "good"], "ranks": [2, 1]},
        {"prompt": "q", "completions": [said("bad"), said("good")], "scores": [0.1, 3]},
        {
            "instruction": "q",
            "completions": [{"response": "bad", "overall_score": 1}, {"response": "good", "score": 9}],
        },
        {
            "fields": {"prompt": "q", "a": "bad", "b": "good"},
            "suggestions": {"ranking": {"value": ["a", "b"]}},
            "responses": {"ranking": [{"value": [{"value": "b"}, {"value": "a"}], "user_id": "u"}]},
        },
    ],
    ids=lambda row: "+".join(row),
)
def test_a_pair_in_each_form_is_a_labelled_list_best_first(tmp_path, row):
    """Prevents preferences from being refused, read in the wrong order, or imported as bare prompts."""
    if "instruction" in row:
        row["completions"][1]["overall_score"] = 9
    found = read_one(tmp_path, row)
    assert turns_of(found) == [[("user", "q")]]
    assert [labelled.answers for labelled in found.labelled] == [("good", "bad")]


def test_lists_of_more_than_two_are_read_in_the_order_of_their_ranks(tmp_path):
    """Prevents a list's order in the file from being taken for its ranking."""
    row = {"prompt": "q", "responses": ["c", "a", "d", "b"], "ranks": [3, 1, 4, 2], "scores": [9, 0, 9, 0]}
    assert read_one(tmp_path, row).labelled[0].answers == ("a", "b", "c", "d")


def test_ties_and_unscored_answers_are_left_out_and_counted(tmp_path):
    """Prevents a judge from being marked wrong for an order that nobody gave."""
    row = {"prompt": "q", "responses": ["a", "b", "c", "a", "e"], "scores": [2, 2, 1, 0, None]}
    found = read_one(tmp_path, row)
    assert found.labelled[0].answers == ("a", "c")
    assert sorted(found.remarks.values()) == [1, 2]
    tied = read_one(tmp_path, {"prompt": "q", "responses": ["a", "b"], "scores": [1, 1]})
    assert (len(tied.prompts), tied.labelled) == (1, ())


def test_answers_of_several_turns_keep_the_turns_before_the_last(tmp_path):
    """Prevents an answer from being ranked for a question that it does not answer."""
    middle = [*said("more?"), {"role": "user", "content": "yes"}]
    row = {"prompt": [ASKED], "chosen": [*middle, *said("good")], "rejected": [*middle, *said("bad")]}
    found = read_one(tmp_path, row)
    assert turns_of(found) == [[("user", "q"), ("assistant", "more?"), ("user", "yes")]]
    assert found.labelled[0].answers == ("good", "bad")
    differing = {**row, "rejected": [*said("other"), {"role": "user", "content": "yes"}, *said("bad")]}
    assert read_one(tmp_path, differing).labelled == ()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": said("b")}, "both be texts or both be lists"),
        ({"prompt": "q", "chosen": [ASKED], "rejected": said("b")}, "'chosen' must end with a turn of the assistant"),
        ({"prompt": "x", "chosen": [ASKED, *said("a")], "rejected": [ASKED, *said("b")]}, "'prompt' differs from"),
        ({"prompt": "q", "chosen": "a\x00", "rejected": "b"}, "'chosen' holds a NUL"),
        ({"prompt": "q", "responses": ["a", "b"], "ranks": [1]}, "'ranks' has 1 values for the 2 answers"),
        (
            '{"prompt": "q", "responses": ["a", "b"], "scores": [1, NaN]}',
            "'scores' must hold finite numbers; found NaN",
        ),
        ({"prompt": "q", "responses": ["a", "b"], "ranks": [True, False]}, "finite numbers; found true or false"),
        ({"chosen": "a", "rejected": "b"}, "give the question as 'prompt'"),
    ],
)
def test_answers_that_cannot_be_used_are_refused_by_line(tmp_path, row, message):
    """Prevents a ranking that is not what the file says."""
    with pytest.raises(BadPrompts, match=f"line 1: .*{message}"):
        read_one(tmp_path, row)


def test_equal_answers_make_no_list_and_an_empty_one_may_be_the_worse(tmp_path):
    """Prevents a pair without a difference from measuring the judge, and a refusal to answer from being lost."""
    equal = read_one(tmp_path, {"prompt": "q", "chosen": "a", "rejected": "a"})
    assert (equal.labelled, sum(equal.remarks.values())) == ((), 1)
    assert read_one(tmp_path, {"prompt": "q", "chosen": "a", "rejected": ""}).labelled[0].answers == ("a", "")


def test_a_dialogue_without_a_question_is_refused(tmp_path):
    """Prevents a blank prompt, and answers to nothing as a label."""
    row = {name: f"\n\nHuman: \n\nAssistant: {name}" for name in ("chosen", "rejected")}
    with pytest.raises(BadPrompts, match="the last turn must be a non-empty turn of the user"):
        read_one(tmp_path, row)
