"""Rows of a round (answers, calls, rankings, metrics): each may be written twice and counts once."""

import threading
from dataclasses import replace

import pytest

from cyclealign.records import Agreement, CallOutcome, Metric, Spending
from cyclealign.store import Store
from tests.support.store_values import adapter_for, answers, call, opened, prompt, prompts, ranked, reply


def test_asks_only_for_answers_that_are_missing(store: Store) -> None:
    """A resumed round would generate again what it has, or leave out what it lacks."""
    made = opened(store)
    store.prompts.set_aside(made.id, prompt(2).id, "longer than the context")
    store.candidates.add(made.id, answers(made, prompt(0)))
    assert store.candidates.unanswered_prompts(made.id) == [prompt(1), prompt(3)]
    assert store.prompts.set_aside_reasons(made.id) == {prompt(2).id: "longer than the context"}


def test_answers_come_back_exactly_and_in_the_order_of_the_plan(store: Store) -> None:
    """The order of rows is no order: position bias of the judge would follow it."""
    made = opened(store, drawn=[prompt(3), prompt(1)])
    for asked in (prompt(1), prompt(3)):
        store.candidates.add(made.id, list(reversed(answers(made, asked))))
    found = store.candidates.by_prompt(made.id)
    assert list(found) == [prompt(3).id, prompt(1).id]
    assert found == {asked.id: answers(made, asked) for asked in (prompt(3), prompt(1))}


def test_answers_to_held_out_prompts_are_kept_apart(store: Store) -> None:
    """Answers of the evaluation among those to rank would be trained on."""
    made = opened(store)
    trained = store.adapters.add(made.id, adapter_for(made), "a-model")
    examined = [*answers(made, prompt(8), 1), *answers(made, prompt(8), 1, trained)]
    store.candidates.add(made.id, examined, {"temperature": 0.0})
    assert store.candidates.by_prompt(made.id) == {}
    ids = [each.id for each in examined]
    assert store.candidates.by_id([*ids, "unknown"]) == dict(zip(ids, examined, strict=True))


def test_an_answer_written_twice_counts_once(store: Store) -> None:
    made = opened(store)
    store.candidates.add(made.id, answers(made, prompt(0), 2))
    changed = [replace(each, text="other") for each in answers(made, prompt(0), 3)]
    store.candidates.add(made.id, changed)
    assert [each.text for each in store.candidates.by_prompt(made.id)[prompt(0).id]] == [
        "answer 0",
        "answer 1",
        "other",
    ]


def test_an_answer_id_without_its_round_is_refused(store: Store) -> None:
    """The second round would find its answers taken for repetitions, and be silently empty."""
    first, second = opened(store, experiment="one"), opened(store, experiment="two")
    store.candidates.add(first.id, answers(first, prompt(0)))
    with pytest.raises(ValueError, match="another round"):
        store.candidates.add(second.id, [*answers(second, prompt(0)), *answers(first, prompt(0))])
    assert store.candidates.by_prompt(second.id) == {}


def test_an_answer_to_a_prompt_that_was_not_drawn_is_refused(store: Store) -> None:
    made = opened(store, drawn=[prompt(0)])
    store.prompts.add("set", [(prompt(1), "train")], "test")
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        store.candidates.add(made.id, answers(made, prompt(1)))
    with pytest.raises(ValueError, match="did not draw"):
        store.prompts.set_aside(made.id, prompt(1).id, "reason")


def test_text_that_no_database_can_hold_does_not_stop_the_round(store: Store) -> None:
    """A policy can sample a NUL, a judge can send half a surrogate pair: the run would end on a single answer."""
    made = opened(store)
    odd = replace(answers(made, prompt(0), 1)[0], text="a\x00b\ud800c \U0001f600 {{ x }}")
    store.candidates.add(made.id, [odd])
    assert store.candidates.by_prompt(made.id)[prompt(0).id][0].text == "a\ufffdb\ufffdc \U0001f600 {{ x }}"
    store.calls.record_reply(made.id, call(0), replace(reply(), text="\ud83d"))
    assert store.calls.reply("trial", call(0).key) == replace(reply(), text="\ufffd")


def test_a_failed_call_never_counts_as_answered(store: Store) -> None:
    """A failure taken for a reply would become a ranking that no judge gave."""
    made = opened(store)
    store.calls.record_failure(made.id, call(0), "status 500")
    assert store.calls.reply("trial", call(0).key) is None
    store.calls.record_failure(made.id, call(0), "no ranking in it", reply(cost_usd=0.25))
    assert store.calls.reply("trial", call(0).key) is None
    (failed,) = store.history.detail("trial", 1)["failed_calls"]
    assert (failed["attempts"], failed["error"]) == (2, "no ranking in it")


def test_a_later_reply_answers_a_failed_call_and_all_money_is_counted(store: Store) -> None:
    """An unreadable reply was paid, too: the budget would be overrun unseen."""
    made = opened(store)
    store.calls.record_failure(made.id, call(0), "unreadable", reply(cost_usd=0.5))
    store.calls.record_reply(made.id, call(0), reply(cost_usd=0.25))
    whole = store.calls.reply("trial", call(0).key)
    assert whole == replace(reply(), prompt_tokens=200, completion_tokens=20, cost_usd=0.75, seconds=1.0)
    assert store.history.detail("trial", 1)["failed_calls"] == []
    (summary,) = store.history.summaries("trial")
    assert (summary["judge_calls"], summary["judge_tokens"], summary["cost_usd"]) == (1, 220, 0.75)


def test_spending_is_that_of_the_experiment_or_of_one_round(store: Store) -> None:
    """A budget of each round would count what earlier rounds spent, or forget failed requests."""
    first = opened(store)
    store.calls.record(
        first.id, [CallOutcome(call(0), reply(0.5), None, 2), CallOutcome(call(1), None, "status 500", 3)]
    )
    store.rounds.close(first.id, "me", "rolled_back", "")
    second = opened(store)
    store.calls.record(second.id, [CallOutcome(call(2), reply(0.25)), CallOutcome(call(1), reply(0.25))])
    assert store.calls.spending("trial", second.id) == Spending(5, 220, 0.5)
    assert store.calls.spending("trial") == Spending(7, 330, 1.0)
    assert store.calls.spending("other") == Spending()
    assert store.calls.answered_keys("trial") == {call(number).key for number in (0, 1, 2)}


def test_an_answered_call_is_never_overwritten(store: Store) -> None:
    """A late duplicate would change a verdict that others rest on already."""
    made = opened(store)
    store.calls.record_reply(made.id, call(0), reply())
    store.calls.record_reply(made.id, call(0), replace(reply(), text="another"))
    store.calls.record_failure(made.id, call(0), "too late")
    assert store.calls.reply("trial", call(0).key) == reply()


def test_a_reply_serves_later_rounds_of_its_experiment_only(store: Store) -> None:
    first = opened(store)
    store.calls.record_reply(first.id, call(0), reply())
    store.rounds.close(first.id, "me", "rolled_back", "")
    second = opened(store)
    assert store.calls.reply("trial", call(0).key) == reply()
    assert store.calls.reply("other", call(0).key) is None
    store.calls.record_failure(second.id, call(1), "status 500")
    assert [row["judge_calls"] for row in store.history.summaries("trial")] == [1, 0]


def test_a_paid_reply_is_kept_whatever_became_of_the_round(store: Store) -> None:
    made = opened(store)
    store.rounds.close(made.id, "me", "rolled_back", "")
    store.calls.record_reply(made.id, call(0), reply())
    assert store.calls.reply("trial", call(0).key) == reply()


def test_rankings_come_back_in_order_and_are_never_replaced(store: Store) -> None:
    """Places read back in the order of ids would be a ranking that no one gave."""
    made = opened(store)
    drawn = {asked.id: answers(made, asked) for asked in prompts(0, 3)}
    for each in drawn.values():
        store.candidates.add(made.id, each)
    judged = [ranked([each[2], each[0], each[1]], "judge", 0.75) for each in drawn.values()]
    store.rankings.add(made.id, [ranked(drawn[prompt(0).id], "policy"), *judged[:2]])
    store.rankings.add(made.id, [ranked(drawn[prompt(0).id], "judge"), judged[2], judged[2]])
    assert store.rankings.by_prompt(made.id, "judge") == {each.prompt_id: each for each in judged}
    assert list(store.rankings.by_prompt(made.id, "policy")) == [prompt(0).id]
    assert store.rankings.by_prompt(made.id, "agreement") == {}


def test_a_ranking_of_unknown_answers_is_refused_whole(store: Store) -> None:
    made = opened(store)
    store.candidates.add(made.id, answers(made, prompt(0)))
    stranger = replace(ranked(answers(made, prompt(0))), prompt_id=prompt(1).id, order=("stranger",))
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        store.rankings.add(made.id, [ranked(answers(made, prompt(0))), stranger])
    assert store.rankings.by_prompt(made.id, "judge") == {}


def test_agreements_come_back_exactly(store: Store) -> None:
    made = opened(store)
    rows = [Agreement(asked.id, ("b", "a"), 2, 3, 0.1 + 0.2, -1 / 3, 0.7) for asked in (prompt(1), prompt(0))]
    store.agreements.record(made.id, rows)
    store.agreements.record(made.id, [replace(rows[0], tau=1.0)])
    assert list(store.agreements.by_prompt(made.id).values()) == [rows[1], rows[0]]


def test_metrics_are_replaced_by_name(store: Store) -> None:
    made = opened(store)
    store.metrics.record(made.id, [Metric("win_rate", 0.4, 0.3, 0.5, 24, "share"), Metric("drift", 0.1)])
    store.metrics.record(made.id, [Metric("win_rate", 0.6)])
    assert store.metrics.of_round(made.id) == {"win_rate": Metric("win_rate", 0.6), "drift": Metric("drift", 0.1)}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(store: Store, value: float) -> None:
    """SQLite would store NaN as NULL, and JSON readers would choke on it."""
    made = opened(store)
    with pytest.raises(ValueError, match="win_rate"):
        store.metrics.record(made.id, [Metric("drift", 0.1), Metric("win_rate", 0.5, value)])
    assert store.metrics.of_round(made.id) == {}


def test_many_threads_write_at_once_and_nothing_is_lost(store: Store) -> None:
    """A transaction that reads before it writes fails at once in SQLite if another wrote between."""
    made = opened(store)
    errors: list[Exception] = []

    def work() -> None:
        try:
            for number in range(10):
                store.rounds.add_step_seconds(made.id, "judge", 0.5)
                store.calls.record_reply(made.id, call(number), reply())
                store.rounds.renew_lease(made.id, "me", 60)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    (summary,) = store.history.summaries("trial")
    assert (summary["seconds"], summary["judge_calls"], summary["cost_usd"]) == (30.0, 10, 2.5)
    assert store.history.detail("trial", 1)["steps"] == [{"step": "judge", "seconds": 30.0, "runs": 60}]
