"""Dynamic demonstrations are shown while they do not lower the judge's accuracy; the history has the measurement."""

import json
from pathlib import Path

import pytest

from cyclealign.store import Store
from tests.support.local_judge import most_words_first

# The labelled lists hold an answer of many words and, worse, one of few; two written demonstrations are shown.
DYNAMIC_SHOWN = "Example 3"


def detail(number):
    with Store.open() as store:
        return store.history.detail("bench", number)


def metrics(number):
    return {each["name"]: each["value"] for each in detail(number)["metrics"]}


def dynamic_in_use(number):
    return [each["id"] for each in detail(number)["demonstrations"]["in_use"] if each["kind"] == "dynamic"]


def accuracy_calls(bench, number):
    found = bench.query(
        "SELECT messages, subject_id FROM judge_call JOIN round ON round.id = judge_call.round_id "
        f"WHERE purpose = 'accuracy' AND number = {number}"
    )
    return [(json.loads(messages), subject) for messages, subject in found]


@pytest.fixture
def bench(bench):
    bench.set("policy", answers=6)  # so that every round finds agreements to promote
    bench.set("judge", concurrency=1)  # so that the script's request is the last one
    bench.set("acceptance", min_win_rate=0.0)
    bench.set("demonstrations", max_chance=1.0)
    return bench


def misled(bench):
    """A judge that dynamic demonstrations teach the wrong way round."""

    def script(answers):
        right = json.loads(most_words_first(answers))["ranking"]
        shown = DYNAMIC_SHOWN in bench.judge.bodies[-1]["messages"][0]["content"]
        return json.dumps({"ranking": right[::-1] if shown else right})

    return script


def test_a_set_that_makes_the_judge_worse_is_not_used_in_the_next_round(bench):
    """Prevents a loop in which the judge is taught its own mistakes, and a change that nobody hears of."""
    bench.judge.script = misled(bench)
    code, output = bench.run(rounds=2)
    assert code == 0, output
    first, second = detail(1), detail(2)
    assert first["demonstrations"]["promoted"]
    assert not dynamic_in_use(2)
    figures = "accuracy 0.000 with, 1.000 without, 2 lists, p = 1"
    assert first["notes"]["next demonstrations"] == f"not to be shown: {figures}"
    assert second["notes"]["demonstrations"] == f"dynamic ones not shown: {figures}, round 1"
    assert "dynamic ones not shown" in output


def test_what_is_measured_for_the_next_round_is_what_that_round_finds_answered(bench):
    """Prevents a measure of another set than the one that is shown, and paying for it twice."""
    code, output = bench.run(rounds=2)
    assert code == 0, output
    promoted = {each["id"] for each in detail(1)["demonstrations"]["promoted"]}
    assert set(dynamic_in_use(2)) == promoted != set()
    assert (metrics(1)["demonstrations_gain"], metrics(2)["judge_accuracy"]) == (0.0, metrics(1)["judge_accuracy_next"])
    orders, lists = 2, 2
    assert (
        len(accuracy_calls(bench, 1)) == 3 * lists * orders
    )  # none, static, next; the round's own are the static ones
    assert len(accuracy_calls(bench, 2)) == 1 * lists * orders  # next


def test_those_left_out_come_back_when_they_earn_it_and_are_retired_all_the_while(bench):
    """Prevents a set that is out from growing past its limit, or from being out for ever."""
    bench.judge.script = misled(bench)
    bench.set("demonstrations", max_kept=1)
    bench.run(rounds=2)
    (promoted,) = detail(1)["demonstrations"]["promoted"]
    assert [each["id"] for each in detail(2)["demonstrations"]["retired"]] == [promoted["id"]]
    bench.judge.script = most_words_first
    bench.run(rounds=2)
    assert not dynamic_in_use(3)
    assert dynamic_in_use(4) == [each["id"] for each in detail(3)["demonstrations"]["promoted"]]


def test_the_measure_of_a_round_that_was_rolled_back_does_not_count(bench):
    """Prevents a set that was dropped with its round from speaking for the one that is in use."""
    bench.judge.script = misled(bench)
    bench.run()
    bench.judge.script = most_words_first
    bench.set("acceptance", min_win_rate=1.0)
    bench.set("training", learning_rate=1e-12)
    bench.run()
    bench.run()
    assert detail(2)["summary"]["verdict"] == "rolled_back"
    assert metrics(2)["demonstrations_gain"] == 0.0
    assert not dynamic_in_use(3)
    assert detail(3)["notes"]["demonstrations"].endswith("round 1")


def test_a_least_gain_of_minus_one_shows_them_always(bench):
    """Prevents a setting that is written down and never read."""
    bench.judge.script = misled(bench)
    bench.set("demonstrations", min_gain=-1)
    bench.run(rounds=2)
    assert metrics(1)["demonstrations_gain"] == -1.0
    assert dynamic_in_use(2)


def test_a_demonstration_of_the_very_question_is_not_shown_with_it(bench):
    """Prevents a judge that looks right because it was told the answer."""
    with Store.open() as store:
        first, second = store.prompts.labelled_lists("tiny")[:2]
    folder = bench.home / "templates"
    folder.mkdir()
    (folder / "rank.jinja").write_text(Path("prompts/rank.jinja").read_text())
    written = [{"question": f" {first.prompt.text} ".upper(), "answers": ["so", "not so"]}]
    (folder / "demonstrations.jsonl").write_text("\n".join(map(json.dumps, written)))
    bench.set("", templates=str(folder))
    code, output = bench.run()
    assert code == 0, output
    shown = {first.id: False, second.id: False}
    for messages, subject in accuracy_calls(bench, 1):
        shown[subject] |= first.prompt.text.upper() in messages[0]["content"]
    assert shown == {first.id: False, second.id: True}


def test_a_judge_that_is_silent_on_labelled_lists_leaves_no_measure(bench):
    """Prevents a round that is lost at its end to a mean over nothing."""
    truth = {"yes", "no"}

    def script(answers):
        labelled = {text.split()[0] for _, text in answers} == truth
        return "Not today." if labelled else most_words_first(answers)

    bench.judge.script = script
    code, output = bench.run()
    assert code == 0, output
    assert not {name for name in metrics(1) if name.startswith("judge_accuracy")}
    assert dynamic_in_use(1) == []
