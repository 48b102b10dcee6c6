"""Judges compared by model and version of the template."""

from dataclasses import replace

import pytest

from cyclealign.errors import NoSuchExperiment
from cyclealign.records import CallOutcome, Metric, Template
from cyclealign.store import Store
from tests.support.store_values import TEMPLATE, call, opened, plan, prompts, reply

OTHER = Template("rank", TEMPLATE.text + " ")


def ranked_by(store: Store, model: str, template: Template, value: float, experiment: str = "trial") -> int:
    """A closed round of this judge, with one answered call of 0.25 USD and one failed one."""
    drawn = prompts(0, 4)
    store.prompts.add("set", [(each, "train") for each in drawn], "test")
    chosen = plan(experiment, drawn=drawn, templates=(template,))
    made = store.rounds.open(replace(chosen, settings={"judge": {"model": model}}), "me", 600)
    asked = [replace(call(10 * made.id + number), model=model, template_hash=template.hash) for number in (0, 1)]
    store.calls.record(made.id, [CallOutcome(asked[0], reply()), CallOutcome(asked[1], None, "status 500")])
    metrics = [Metric("judge_first_bias", value), Metric("health_junk", 1.0), Metric("win_rate", 0.5)]
    store.metrics.record(made.id, metrics)
    store.rounds.close(made.id, "me", "accepted", "")
    return made.id


def test_a_judge_is_a_model_with_a_template_and_its_figures_are_means_over_its_rounds(store: Store) -> None:
    """Figures of two templates, or of two models, in one row would hide which of them is the unsteady one."""
    ranked_by(store, "small", TEMPLATE, 0.2)
    ranked_by(store, "small", TEMPLATE, 0.4)
    ranked_by(store, "small", OTHER, 0.9)
    ranked_by(store, "large", OTHER, 0.0, "other")
    found = store.judges.compare()
    assert [(row["model"], row["template"], row["rounds"]) for row in found] == [
        ("small", TEMPLATE.hash, 2),
        ("small", OTHER.hash, 1),
        ("large", OTHER.hash, 1),
    ]
    assert found[0]["figures"] == {"judge_first_bias": pytest.approx(0.3), "health_junk": 1.0}
    assert (found[0]["calls"], found[0]["tokens"], found[0]["cost_usd"]) == (2, 220, 0.5)
    assert [row["model"] for row in store.judges.compare("other")] == ["large"]


def test_a_round_that_measured_nothing_does_not_count_as_zero(store: Store) -> None:
    """A round from before there were such figures would make every judge look bad."""
    ranked_by(store, "small", TEMPLATE, 0.8)
    made = opened(store, drawn=[])
    store.calls.record_reply(made.id, replace(call(0), model="stranger"), reply())
    assert store.judges.compare()[0]["figures"]["judge_first_bias"] == 0.8
    assert store.judges.compare()[1] == {
        "model": "stranger",
        "template_hash": TEMPLATE.hash,
        "template": TEMPLATE.hash,
        "rounds": 0,
        "answered_calls": 1,
        "calls": 1,
        "failed_calls": 0,
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "tokens": 110,
        "cost_usd": 0.25,
        "estimated_usd": 0.0,
        "figures": {},
    }
    with pytest.raises(NoSuchExperiment, match="known: trial"):
        store.judges.compare("nobody")


def test_answered_calls_come_back_as_they_were_asked(store: Store) -> None:
    """Biases are computed from stored calls: another order shown, or a failed call, would make them up."""
    made = opened(store)
    store.calls.record(made.id, [CallOutcome(call(0), reply()), CallOutcome(call(1), None, "status 500")])
    store.calls.record_reply(made.id, call(2, "accuracy"), reply())
    ((asked, replied),) = store.calls.answered(made.id, "rank")
    assert (asked, asked.key) == (call(0), call(0).key)
    assert replied == reply()
