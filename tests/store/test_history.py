"""The history, a round in detail, and the views for users of the database."""

import json
from dataclasses import replace

import pytest
import sqlalchemy as sa

from cyclealign.errors import NoSuchExperiment
from cyclealign.records import Agreement, CallOutcome, Demonstration, Metric, Round
from cyclealign.store import Store
from tests.support.store_values import (
    TEMPLATE,
    adapter_for,
    answers,
    call,
    demonstration,
    opened,
    prompt,
    ranked,
    reply,
)

ASKED_FOR = {
    *("experiment", "number", "verdict", "agreement_tau", "agreement_chance", "judge_accuracy", "win_rate"),
    *("win_rate_low", "win_rate_high", "gold_quality", "judge_calls", "judge_tokens", "cost_usd", "seconds"),
}


def view(store: Store, name: str) -> list[dict[str, object]]:
    with store.engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.text(f"SELECT * FROM {name}")).mappings()]


def whole_round(store: Store) -> Round:
    """A round in which everything has happened once."""
    static = Demonstration.of("asked", ("better", "worse"), "static")
    made = opened(store, demonstrations=[static])
    given = answers(made, prompt(0))
    store.candidates.add(made.id, given)
    store.prompts.set_aside(made.id, prompt(3).id, "too long")
    store.rankings.add(made.id, [ranked(given, "policy"), ranked(given[::-1], "judge", 0.5)])
    store.agreements.record(made.id, [Agreement(prompt(0).id, (given[0].id,), 1, 3, 1.0, -1.0)])
    for number, purpose in enumerate(("rank", "rank", "win_rate")):
        store.calls.record_reply(made.id, call(number, purpose), reply())
    store.calls.record_failure(made.id, call(3), "status 500")
    store.demonstrations.propose(made.id, [(demonstration(1), prompt(0).id)], [static.id])
    store.adapters.add(made.id, adapter_for(made), "a-model")
    measured = (Metric("agreement_tau", 0.25), Metric("agreement_chance", 0.0), Metric("judge_accuracy", 0.75))
    store.metrics.record(made.id, [*measured, Metric("win_rate", 0.625, 0.5, 0.75, 24), Metric("gold_quality", 0.5)])
    store.rounds.add_step_seconds(made.id, "generate", 1.5)
    store.rounds.add_step_seconds(made.id, "generate", 2.0)
    store.rounds.close(made.id, "me", "accepted", "better")
    return made


def test_history_has_every_number_of_a_round(store: Store) -> None:
    whole_round(store)
    (row,) = store.history.summaries("trial")
    assert row.keys() >= ASKED_FOR
    assert {name: row[name] for name in ASKED_FOR} == {
        "experiment": "trial",
        "number": 1,
        "verdict": "accepted",
        "agreement_tau": 0.25,
        "agreement_chance": 0.0,
        "judge_accuracy": 0.75,
        "win_rate": 0.625,
        "win_rate_low": 0.5,
        "win_rate_high": 0.75,
        "gold_quality": 0.5,
        "judge_calls": 3,
        "judge_tokens": 330,
        "cost_usd": 0.75,
        "seconds": 3.5,
    }
    assert json.loads(json.dumps(row)) == row


def test_what_was_not_measured_is_null_not_zero(store: Store) -> None:
    """A win rate of 0 and one that nobody measured would look alike."""
    opened(store)
    (row,) = store.history.summaries("trial")
    unmeasured = ("agreement_tau", "judge_accuracy", "win_rate", "win_rate_low", "gold_quality", "seconds", "verdict")
    assert {name: row[name] for name in unmeasured} == dict.fromkeys(unmeasured)
    assert (row["judge_calls"], row["judge_tokens"], row["cost_usd"]) == (0, 0, 0)


def test_many_calls_steps_and_metrics_do_not_multiply_each_other(store: Store) -> None:
    """A view that joins them would count every call once per step, and report a multiple of the money."""
    first = whole_round(store)
    store.rounds.add_step_seconds(first.id, "judge", 10.0)
    opened(store)
    rows = store.history.summaries("trial")
    assert [(row["number"], row["judge_calls"], row["cost_usd"], row["seconds"]) for row in rows] == [
        (1, 3, 0.75, 13.5),
        (2, 0, 0, None),
    ]


def test_history_of_all_experiments_and_of_an_unknown_one(store: Store) -> None:
    assert store.history.summaries() == []
    with pytest.raises(NoSuchExperiment, match="none yet"):
        store.history.summaries("trial")
    for name in ("zebra", "ant"):
        opened(store, experiment=name)
    assert [row["experiment"] for row in store.history.summaries()] == ["ant", "zebra"]
    with pytest.raises(NoSuchExperiment, match=r"'trial' \(known: ant, zebra\)"):
        store.history.summaries("trial")
    with pytest.raises(NoSuchExperiment, match=r"no round 2 \(rounds: 1\)"):
        store.history.detail("ant", 2)


def test_detail_tells_everything_of_a_round(store: Store) -> None:
    made = whole_round(store)
    detail = store.history.detail("trial", 1)
    assert json.loads(json.dumps(detail)) == detail
    assert detail["summary"] == store.history.summaries("trial")[0]
    assert [(each["purpose"], each["set_aside_reason"]) for each in detail["prompts"]] == [
        *[("train", None)] * 3,
        ("train", "too long"),
        *[("held_out", None)] * 2,
    ]
    first = detail["prompts"][0]
    given = [each.id for each in answers(made, prompt(0))]
    assert [each["id"] for each in first["candidates"]] == given
    assert first["candidates"][1]["mean_logprob"] == -2.5 / 3
    verdict = first["rankings"]["judge"]
    assert (verdict["order"], verdict["steadiness"]) == (given[::-1], 0.5)
    assert first["agreement"]["tau"] == -1.0
    assert [shown["question"] for shown in detail["demonstrations"]["in_use"]] == ["asked"]
    assert [shown["question"] for shown in detail["demonstrations"]["promoted"]] == ["asked 1"]
    assert [shown["question"] for shown in detail["demonstrations"]["retired"]] == ["asked"]
    assert detail["templates"] == [
        {"template_hash": TEMPLATE.hash, "hash": TEMPLATE.hash, "name": "rank", "text": TEMPLATE.text}
    ]
    assert detail["adapter"]["id"] == "adapter-trial-1"
    assert detail["steps"] == [{"step": "generate", "seconds": 3.5, "runs": 2}]
    assert [each["error"] for each in detail["failed_calls"]] == ["status 500"]


def test_overview_gives_every_round_with_its_metrics(store: Store) -> None:
    made = whole_round(store)
    (row,) = store.experiments.rounds("trial")
    assert row["metrics"] == store.metrics.of_round(made.id)
    assert (store.experiments.rounds("unknown"), store.experiments.names()) == ([], ["trial"])
    assert (store.experiments.base_model("trial"), store.experiments.base_model("unknown")) == ("a-model", None)


def test_judge_spending_view(store: Store) -> None:
    made = whole_round(store)
    store.calls.record_reply(opened(store).id, replace(call(7), model="other"), reply(cost_usd=1.5))
    rows = sorted(view(store, "judge_spending"), key=lambda row: (row["round"], row["purpose"]))
    assert [
        (row["round"], row["model"], row["purpose"], row["answered_calls"], row["failed_calls"], row["cost_usd"])
        for row in rows
    ] == [
        (made.number, "a-judge", "rank", 2, 1, 0.5),
        (made.number, "a-judge", "win_rate", 1, 0, 0.25),
        (2, "other", "rank", 1, 0, 1.5),
    ]
    assert {(row["experiment"], row["template"], row["template_hash"]) for row in rows} == {
        ("trial", "rank", TEMPLATE.hash)
    }


def test_the_estimated_part_of_the_cost_is_kept_apart(store: Store) -> None:
    """Prevents the price of a request without a reply from being taken for the provider's bill."""
    made = opened(store)
    lost = replace(reply(cost_usd=0.5), estimated_tokens=110, estimated_usd=0.5, finish_reason="length")
    store.calls.record(made.id, [CallOutcome(call(0), lost), CallOutcome(call(1), lost, "No reply.")])
    store.calls.record_reply(made.id, call(1), reply(cost_usd=0.25))
    assert store.calls.reply("trial", call(0).key) == lost
    (row,) = store.experiments.rounds("trial")
    assert (row["cost_usd"], row["estimated_usd"]) == (1.25, 1.0)
    (spending,) = view(store, "judge_spending")
    assert (spending["estimated_tokens"], spending["estimated_usd"]) == (220, 1.0)


def test_demonstration_history_view(store: Store) -> None:
    """A retirement by a rolled-back round is none; a promotion by one shows with its verdict."""
    whole_round(store)
    plans = (("rolled_back", [2], 1), ("accepted", [2], 1), ("accepted", [], 2))
    for verdict, promoted, retired in plans:
        made = opened(store)
        proposals = [(demonstration(number), prompt(0).id) for number in promoted]
        store.demonstrations.propose(made.id, proposals, [demonstration(retired).id])
        store.rounds.close(made.id, "me", verdict, "")
    columns = ("question", "kind", "promoted_in_round", "verdict_of_that_round", "retired_in_round")
    found = [tuple(row[column] for column in columns) for row in view(store, "demonstration_history")]
    assert sorted(found, key=str) == [
        ("asked 1", "dynamic", 1, "accepted", 3),
        ("asked 2", "dynamic", 2, "rolled_back", None),
        ("asked 2", "dynamic", 3, "accepted", 4),
        ("asked", "static", None, None, None),
    ]
