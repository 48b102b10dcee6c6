"""An open round can be given up: everything paid for is kept, and the next round on the same prompts uses it."""

import pytest

from cyclealign.errors import TrainingFailed
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.store import Store
from cyclealign.training import launcher


def detail(number: int) -> dict:
    with Store.open() as store:
        return store.history.detail("bench", number)


def train_prompts(number: int) -> dict[str, dict]:
    return {prompt["id"]: prompt for prompt in detail(number)["prompts"] if prompt["purpose"] == "train"}


def calls(bench, number: int) -> dict[str, int]:
    """Return the number of calls stored with a round, by purpose."""
    query = (
        "SELECT purpose, count(*) FROM judge_call JOIN round ON round.id = judge_call.round_id "
        f"WHERE round.number = {number} GROUP BY purpose"
    )
    return dict(bench.query(query))


@pytest.fixture
def sampled(monkeypatch) -> list[int]:
    """The number of answers to each prompt, for every batch that the policy samples."""
    batches: list[int] = []
    answer = TransformersPolicy.answer

    def noted(self, prompts, count, seed):
        batches.append(count)
        return answer(self, prompts, count, seed)

    monkeypatch.setattr(TransformersPolicy, "answer", noted)
    return batches


def stuck_in_training(bench, monkeypatch) -> None:
    """Leave a round open whose lists are judged."""

    def fail(*_: object) -> float:
        raise TrainingFailed("no")

    with monkeypatch.context() as patch:
        patch.setattr(launcher, "train", fail)
        code, output = bench.run()
    assert code == 1
    assert "cyclealign abandon bench" in output


def test_the_next_round_on_the_same_prompts_costs_nothing_that_was_paid(bench, monkeypatch, sampled):
    """Prevents answers and labels from being paid for again after a round was given up."""
    bench.set("health", lists=2)
    stuck_in_training(bench, monkeypatch)
    code, output = bench.command("abandon", "bench", "--reason", "wrong machine")
    assert code == 0, output
    assert "Round 1 of 'bench' is abandoned" in output
    paid, batches = dict(bench.judge.answered), len(sampled)
    code, output = bench.run()
    assert code == 0, output
    assert calls(bench, 2).keys() <= {"win_rate", "accuracy"}
    assert calls(bench, 1).keys() >= {"rank", "health"}
    assert 4 not in sampled[batches:]  # four answers to a training prompt; a held-out one gets one
    assert all(bench.judge.answered[request] == times for request, times in paid.items())
    first, second = train_prompts(1), train_prompts(2)
    assert list(first) == list(second)
    for one, other in zip(first.values(), second.values(), strict=True):
        texts = [[answer["text"] for answer in prompt["candidates"]] for prompt in (one, other)]
        assert texts[0] == texts[1]
        assert {answer["id"] for answer in other["candidates"]} >= set(other["rankings"]["judge"]["order"])
        assert [answer["copied_from"] for answer in other["candidates"]] == [row["id"] for row in one["candidates"]]
    biases = [[each for each in detail(n)["metrics"] if each["name"] == "judge_position_consistency"] for n in (1, 2)]
    assert biases[0] == biases[1] != []


def test_an_abandoned_round_counts_for_nothing(bench, monkeypatch):
    """Prevents half of a round that was given up from living on, and one from counting as finished."""
    bench.set("demonstrations", max_chance=1.0)
    bench.set("acceptance", min_win_rate=0.0)
    stuck_in_training(bench, monkeypatch)
    assert detail(1)["demonstrations"]["promoted"]
    bench.command("abandon", "bench")
    code, output = bench.run(until=1)
    assert code == 0, output
    first, second = bench.rounds()
    assert (first["verdict"], first["reason"]) == ("abandoned", "given up on request")
    assert second["verdict"] == "accepted"
    assert all(each["kind"] == "static" for each in detail(2)["demonstrations"]["in_use"])
    assert "abandoned" in bench.command("history", "bench")[1]
    with Store.open() as store:
        assert store.rounds.count_closed("bench") == 1
        assert store.templates.rolled_back("bench", "rank") == set()


def test_other_sampling_means_other_answers_to_the_same_prompts(bench, monkeypatch, sampled):
    """Prevents answers at another temperature from being taken for those of the round."""
    stuck_in_training(bench, monkeypatch)
    bench.command("abandon", "bench")
    sampled.clear()
    bench.set("policy", temperature=0.7)
    code, output = bench.run()
    assert code == 0, output
    assert 4 in sampled
    assert list(train_prompts(1)) == list(train_prompts(2))
    copied = [answer["copied_from"] for prompt in train_prompts(2).values() for answer in prompt["candidates"]]
    assert set(copied) == {None}


def test_another_judge_ranks_the_answers_that_are_there(bench, monkeypatch, sampled):
    """Prevents the policy from answering again because its judge was retired."""
    stuck_in_training(bench, monkeypatch)
    bench.command("abandon", "bench")
    sampled.clear()
    bench.set("judge", model="newer")
    code, output = bench.run()
    assert code == 0, output
    assert 4 not in sampled
    assert calls(bench, 2)["rank"] == 8
    assert detail(2)["settings"]["judge"]["model"] == "newer"


def test_a_round_given_up_twice_keeps_the_first_ids(bench, monkeypatch, sampled):
    """Prevents requests that change with each round that is given up."""
    stuck_in_training(bench, monkeypatch)
    bench.command("abandon", "bench")
    stuck_in_training(bench, monkeypatch)
    bench.command("abandon", "bench")
    sampled.clear()
    code, output = bench.run()
    assert code == 0, output
    assert 4 not in sampled
    assert "rank" not in calls(bench, 2) | calls(bench, 3)


def test_nothing_is_given_up_while_a_run_is_at_work_or_without_an_open_round(bench, monkeypatch):
    """Prevents a round from being closed under a run that pays for it."""
    from cyclealign.loop.lease import hold_experiment, owner_name

    stuck_in_training(bench, monkeypatch)
    with Store.open() as store, hold_experiment(store, "bench", owner_name("other"), "busy-bee"):
        code, output = bench.command("abandon", "bench")
        assert code == 1
        assert "ExperimentBusy" in output
        assert "busy-bee" in output
    assert detail(1)["summary"]["verdict"] is None
    assert bench.command("abandon", "bench")[0] == 0
    assert "has no open round" in bench.command("abandon", "bench")[1]
    assert "no experiment 'none'" in bench.command("abandon", "none")[1]


def test_a_renamed_experiment_goes_on_with_its_open_round(bench, monkeypatch, sampled):
    """Prevents a new name from asking for all answers and labels again."""
    stuck_in_training(bench, monkeypatch)
    asked = len(bench.judge.bodies)
    assert bench.command("experiments", "rename", "bench", "fresh")[0] == 0
    sampled.clear()
    bench.set("", experiment="fresh")
    code, output = bench.run()
    assert code == 0, output
    assert 4 not in sampled
    assert max(bench.judge.answered.values()) == 1
    assert len(bench.judge.bodies) > asked  # the evaluation
    (row,) = bench.rounds("fresh")
    assert row["verdict"] in ("accepted", "rolled_back")
    assert "/adapters/fresh/round-1-" in row["adapter_path"]
