"""The policy, and what its agreement with the judge is worth, measured on labelled lists."""

import pytest

from cyclealign.evaluation.metrics import agreed_pair_accuracy, labelled_ids, pair_accuracy
from cyclealign.loop.examine_policy import accuracies
from cyclealign.records import LabelledList, Message, Prompt
from cyclealign.store import Store


def labelled(number: int) -> LabelledList:
    prompt = Prompt.of((Message(role="user", content=f"question {number}"),))
    return LabelledList(prompt, ("best", "fair", "worst"), "test")


def test_only_pairs_that_both_rank_alike_count() -> None:
    """Prevents an agreement that looks right because pairs in dispute count, or because wrong ones are left out."""
    truth = ["a", "b", "c"]
    assert agreed_pair_accuracy("abc", "abc", truth) == 1.0
    assert agreed_pair_accuracy("abc", "acb", truth) == 1.0  # b and c are in dispute
    assert agreed_pair_accuracy("bac", "bca", truth) == pytest.approx(1 / 2)  # a-b: both wrong; b-c: both right
    assert agreed_pair_accuracy("abc", "cba", truth) is None


def test_independent_raters_agree_on_the_formula_of_the_docstring() -> None:
    """Prevents a measure that disagrees with the reason for which agreement is taken for better."""
    truth = [str(number) for number in range(400)]
    pairs = [(truth[place], truth[place + 1]) for place in range(0, 400, 2)]
    right_p = [number % 10 < 7 for number in range(200)]  # 0.7
    right_q = [number // 10 % 10 < 6 for number in range(200)]  # 0.6, independent of the first
    shares = [
        agreed_pair_accuracy(pair if p else pair[::-1], pair if q else pair[::-1], pair)
        for pair, p, q in zip(pairs, right_p, right_q, strict=True)
    ]
    known = [share for share in shares if share is not None]
    assert sum(known) / len(known) == pytest.approx(0.7 * 0.6 / (0.7 * 0.6 + 0.3 * 0.4), abs=0.02)


def test_lists_without_a_verdict_count_for_the_policy_alone() -> None:
    """Prevents a failed call of the judge from counting as a disagreement, and an interval over nothing."""
    lists = [labelled(1), labelled(2)]
    right, wrong = labelled_ids(lists[0]), labelled_ids(lists[1])[::-1]
    own, agreed = accuracies(lists, [right, wrong], [right, None])
    assert (own.name, own.value, own.count) == ("policy_accuracy", 0.5, 2)
    assert (agreed.name, agreed.value, agreed.count) == ("agreed_accuracy", 1.0, 1)
    assert [metric.name for metric in accuracies(lists, [right, wrong], [None, None])] == ["policy_accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("score", ["mean_logprob", "sum_logprob", "pmi", "implicit_reward"])
def test_a_round_stores_both_and_asks_nothing_twice(bench, score: str) -> None:
    """Prevents a measurement that is paid for twice, or that takes another score than the round's ranking."""
    bench.set("agreement", score=score)
    code, output = bench.run(rounds=2 if score == "implicit_reward" else 1)
    assert code == 0, output
    assert max(bench.judge.asked.values()) == 1
    measured = bench.rounds()[-1]["metrics"]
    assert 0 <= measured["policy_accuracy"].value <= 1
    assert measured["policy_accuracy"].count == 2
    with Store.open() as store:
        steps = [row["step"] for row in store.history.overview("bench", 1)["steps"]]
    assert "examine_policy" in steps


@pytest.mark.slow
def test_lists_that_do_not_fit_are_left_out_and_the_round_goes_on(bench) -> None:
    """Prevents a round that is lost to a long labelled list, which is a measurement alone."""
    with Store.open() as store:
        prompt = Prompt.of((Message(role="user", content="how do i bake bread"),))
        too_long = LabelledList(prompt, ("bake " * 3_000, "no"), "test")
        store.prompts.add_labelled_lists("long", [too_long])
        store.prompts.add(
            "long", [(Prompt.of((Message(role="user", content=f"how {n}"),)), "train") for n in range(9)], "test"
        )
        store.prompts.add(
            "long", [(Prompt.of((Message(role="user", content=f"why {n}"),)), "held_out") for n in range(4)], "test"
        )
    bench.set("prompts", set_name="long")
    code, output = bench.run()
    assert code == 0, output
    assert "policy_accuracy" not in bench.rounds()[-1]["metrics"]


def test_the_measure_of_a_pair_is_that_of_the_judge() -> None:
    """Prevents two accuracies beside each other that are counted in two ways."""
    truth, order = ["a", "b", "c"], ["b", "a", "c"]
    assert pair_accuracy(order, truth) == agreed_pair_accuracy(order, order, truth)
