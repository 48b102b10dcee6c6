"""Evaluation: the parent's held-out answers are drawn once per sampling, and few readable duels decide nothing."""

import hashlib
import json

import pytest
from sqlalchemy import select, update

from cyclealign import tables
from cyclealign.config import ExperimentConfig
from cyclealign.errors import JudgeError
from cyclealign.loop.duels import Duel, require_readable
from cyclealign.store import Store
from tests.support.local_judge import answers_in, most_words_first


def held_out_answers() -> list[dict]:
    """The held-out candidates of round 2, with the temperature of their sampling."""
    with Store.open() as store, store.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT candidate.adapter_id AS adapter, candidate.sampling AS sampling FROM candidate "
            "JOIN round ON round.id = candidate.round_id "
            "JOIN round_prompt ON round_prompt.round_id = round.id AND round_prompt.prompt_id = candidate.prompt_id "
            "WHERE round.number = 2 AND round_prompt.purpose = 'held_out'"
        )
        return [dict(row) for row in rows.mappings()]


@pytest.mark.parametrize(("change", "parents"), [({}, 0), ({"temperature": 0.7}, 1), ({"system_prompt": "be kind"}, 1)])
def test_the_parent_answers_again_when_the_sampling_changes(bench, change, parents):
    """Prevents a win rate that measures a new temperature or system prompt instead of the training."""
    bench.set("acceptance", min_win_rate=0.0)
    assert bench.run()[0] == 0
    bench.set("policy", **change)
    code, output = bench.run()
    assert code == 0, output
    adapters = {row["adapter"] for row in held_out_answers()}
    assert len(adapters) == 1 + parents  # the new adapter's, and the parent's if it answered again


@pytest.mark.parametrize(("thinking", "parents"), [("strip", 1), ("keep", 0)])
def test_answers_of_a_version_that_kept_thoughts_are_compared_with_their_like(bench, thinking, parents):
    """Prevents duels of answers with their thoughts against answers without, after an upgrade."""
    bench.set("acceptance", min_win_rate=0.0)
    assert bench.run()[0] == 0
    with Store.open() as store, store.engine.connect() as connection:
        table = tables.Round.__table__
        settings = connection.scalar(select(table.c.settings))
        del settings["policy"]["thinking"]
        connection.execution_options(writes=True).execute(update(table).values(settings=settings))
        connection.commit()
    bench.set("policy", thinking=thinking)
    code, output = bench.run()
    assert code == 0, output
    assert len({row["adapter"] for row in held_out_answers()}) == 1 + parents


@pytest.fixture
def duelling(bench):
    """An experiment in which only the duels with the parent compare two answers."""
    bench.set("policy", answers=4)
    bench.set("prompts", held_out=8)
    bench.set("evaluation", labelled_lists=0)
    bench.set("training", learning_rate=0.1)  # so that the new policy answers otherwise than its parent
    bench.set("acceptance", min_win_rate=0.0)
    return bench


def test_a_rerun_repeats_the_failed_duels_and_no_others(duelling):
    """Prevents a round from being accepted or rolled back by a judge that was out of order, and calls paid twice."""

    def status(_):
        return 500 if len(answers_in(duelling.judge.bodies[-1]["messages"][-1]["content"])) == 2 else 200

    duelling.judge.status = status
    code, output = duelling.run()
    assert code == 1
    assert "JudgeError" in output
    assert "rerun to repeat the failed calls" in output
    assert (duelling.rounds()[0]["verdict"], "win_rate" in duelling.rounds()[0]["metrics"]) == (None, False)
    duelling.judge.status = None
    code, output = duelling.run()
    assert code == 0, output
    assert len(duelling.rounds()) == 1
    assert max(duelling.judge.answered.values()) == 1
    assert duelling.rounds()[0]["metrics"]["duels_readable"].value == 1


def test_a_round_is_not_decided_by_the_few_duels_that_can_be_read(duelling):
    """Prevents "win rate 1.00" on two of eight prompts from being accepted; a lower bound decides it without a call."""

    def script(answers):
        words = " ".join(sorted(text for _, text in answers))
        readable = len(answers) != 2 or hashlib.sha256(words.encode()).digest()[0] % 4 == 0
        return most_words_first(answers) if readable else "They are all lovely."

    duelling.judge.script = script
    code, output = duelling.run()
    assert code == 1
    assert "of 8 duels with the parent have a readable verdict" in output
    assert "Unreadable" in duelling.command("history", "bench", "--failures")[1]
    paid = len(duelling.judge.bodies)
    duelling.set("acceptance", min_readable=0.0)
    code, output = duelling.run()
    assert code == 0, output
    metrics = duelling.rounds()[0]["metrics"]
    assert 0 < metrics["duels_readable"].value < 0.8
    assert metrics["duels_readable"].count == 8
    assert len(duelling.judge.bodies) == paid


def test_the_history_shows_the_evidence_whatever_the_rule(duelling):
    """Prevents a verdict by the mean from hiding that there is no evidence; undecided is said in words."""
    code, output = duelling.run()
    assert code == 0, output
    assert "e-value for / against" in output
    assert "% ties, e-value" in duelling.rounds()[0]["reason"]
    duelling.set("acceptance", rule="e_value", alpha=0.0001)
    del duelling.settings["acceptance"]["min_win_rate"]
    code, output = duelling.run()
    assert code == 0, output
    assert (duelling.rounds()[1]["verdict"], "undecided" in duelling.rounds()[1]["reason"]) == ("undecided", True)


def duel(score, asked=True):
    return Duel("p", score, asked)


@pytest.mark.parametrize(
    ("duels", "min_readable"),
    [
        ([duel(1.0)] * 2 + [duel(None)] * 6, 0.8),
        ([duel(0.5, asked=False)] * 9 + [duel(None)], 0.8),  # not one of those that the judge was asked
        ([duel(None)] * 3, 0.0),
    ],
)
def test_too_few_readable_duels_stop_the_run(duels, min_readable):
    """Prevents ties of equal answers from standing in for a judge that answers nothing."""
    config = ExperimentConfig.model_validate({"acceptance": {"min_readable": min_readable}})
    with pytest.raises(JudgeError, match="neither accepted nor rolled back"):
        require_readable(config, duels)


@pytest.mark.parametrize("duels", [[duel(1.0)] * 8 + [duel(None)] * 2, [duel(0.5, asked=False)] * 3])
def test_enough_readable_duels_pass(duels):
    """Prevents a run from stopping at single lost calls, or where both policies answer alike."""
    require_readable(ExperimentConfig(), duels)


@pytest.mark.slow
def test_an_undecided_round_is_trained_on_without_its_demonstrations(duelling):
    """Prevents demonstrations from being promoted without evidence, and undecided training from being lost."""
    duelling.set("acceptance", rule="e_value", alpha=0.0001, undecided="train_on")
    del duelling.settings["acceptance"]["min_win_rate"]
    duelling.set("demonstrations", max_chance=1.0)
    for _ in range(2):
        code, output = duelling.run()
        assert code == 0, output
    assert "undecided" in output
    assert [row["verdict"] for row in duelling.rounds()] == ["undecided", "undecided"]
    assert duelling.rounds()[0]["demonstrations_promoted"] > 0
    assert duelling.rounds()[1]["parent_adapter_id"] == duelling.rounds()[0]["adapter_id"]
    with Store.open() as store:
        assert store.demonstrations.active("bench") == []
        assert store.rounds.rollbacks_in_a_row("bench") == 0


def in_the_order_shown(answers):
    """A judge without an opinion on two answers: the two orders disagree, which is a tie."""
    return json.dumps({"ranking": [label for label, _ in answers]}) if len(answers) == 2 else most_words_first(answers)


def held_out_count() -> list[int]:
    """The number of held-out prompts of each round."""
    with Store.open() as store:
        return [
            len(store.rounds.get("bench", row["number"]).plan.held_out) for row in store.experiments.rounds("bench")
        ]


@pytest.fixture
def sequential(duelling):
    """Four prompts at a time, at most twelve: after eight ties four wins are too few for alpha."""
    duelling.judge.script = in_the_order_shown
    duelling.set("prompts", held_out=4)
    duelling.set("acceptance", rule="e_value", max_prompts=12)
    del duelling.settings["acceptance"]["min_win_rate"]
    return duelling


@pytest.mark.slow
def test_more_prompts_are_drawn_only_while_they_can_decide(sequential):
    """Prevents judge calls that cannot change the verdict, and an undecided one that one more batch would settle."""
    code, output = sequential.run()
    assert code == 0, output
    assert held_out_count() == [8]
    assert (sequential.rounds()[0]["verdict"], sequential.rounds()[0]["win_rate_prompts"]) == ("undecided", 8)
    sequential.set("acceptance", alpha=0.5)  # 4 more wins would do: 1.75^4 > 2
    assert sequential.run()[0] == 0
    assert held_out_count() == [8, 12]


@pytest.mark.slow
def test_a_run_that_failed_among_the_further_prompts_goes_on_with_them(sequential):
    """Prevents further prompts from being drawn, answered or judged anew after a failure."""

    def status(_):
        duel = len(answers_in(sequential.judge.bodies[-1]["messages"][-1]["content"])) == 2
        return 500 if duel and held_out_count() == [8] else 200

    sequential.judge.status = status
    code, output = sequential.run()
    assert code == 1, output
    assert "JudgeError" in output
    assert held_out_count() == [8]
    with Store.open() as store:
        before = {answer.id for answers in store.candidates.by_prompt(1).values() for answer in answers}
    sequential.judge.status = None
    code, output = sequential.run()
    assert code == 0, output
    assert held_out_count() == [8]
    assert max(sequential.judge.answered.values()) == 1
    with Store.open() as store:
        assert before == {answer.id for answers in store.candidates.by_prompt(1).values() for answer in answers}


@pytest.mark.slow
def test_held_out_prompts_rotate_and_the_parent_answers_afresh(bench):
    """Prevents a few prompts, and answers that won before, from deciding about all rounds."""
    bench.set("acceptance", min_win_rate=0.0)
    bench.set("evaluation", rotate_held_out=True, fresh_parent=True)
    bench.set("prompts", held_out=3)
    for _ in range(2):
        assert bench.run()[0] == 0
    with Store.open() as store:
        first, second = ({each.id for each in store.rounds.get("bench", n).plan.held_out} for n in (1, 2))
    assert first != second
    adapters = {row["adapter"] for row in held_out_answers()}
    assert len(adapters) == 2  # the parent's and the new one's, all drawn in round 2


@pytest.mark.slow
def test_the_policy_is_compared_with_the_base_model_as_well(duelling):
    """Prevents a chain of small wins over ever worse parents from being taken for progress."""
    duelling.set("evaluation", against_base=True)
    for _ in range(2):
        code, output = duelling.run()
        assert code == 0, output
    first, second = (row["metrics"] for row in duelling.rounds())
    assert first["base_win_rate"].value == first["win_rate"].value
    assert first["base_e_value"].value == first["win_e_value"].value
    assert "base_win_rate" in second
    with Store.open() as store, store.engine.connect() as connection:
        query = "SELECT DISTINCT round FROM judge_spending WHERE purpose = 'win_rate_base'"
        assert connection.exec_driver_sql(query).scalars().all() == [2]
    assert "length_growth" in first
