"""The kind of judge: a judge that is named is a real one, and the simulated judge keeps its own name."""

import logging

import httpx
import pytest

from cyclealign.config import ExperimentConfig, JudgeSettings, checked, stored_settings
from cyclealign.demo.judge.process import SimulatedJudge
from cyclealign.errors import BadConfig


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, "simulated"),
        ({"num_orders": 4}, "simulated"),
        ({"model": "simulated-judge"}, "simulated"),
        ({"model": "gpt-4o-mini"}, "openai"),
        ({"base_url": "http://127.0.0.1:8000/v1"}, "openai"),
        ({"kind": "simulated", "model": "simulated-judge", "base_url": None}, "simulated"),
    ],
)
def test_a_judge_with_a_model_or_an_address_is_a_real_one(given, kind):
    """Prevents the demo's judge from ranking in place of the one that the config names."""
    assert JudgeSettings.model_validate(given).kind == kind


@pytest.mark.parametrize("given", [{"model": "gpt-4o-mini"}, {"base_url": "http://127.0.0.1:8000/v1"}])
def test_the_simulated_judge_takes_no_other_name_and_no_address(given):
    """Prevents a form that was left at `simulated` from storing the demo's labels as another model's."""
    with pytest.raises(BadConfig, match=r"Set judge\.kind = 'openai' for a real judge"):
        checked({"judge": {"kind": "simulated", **given}}, "form")


def test_the_simulated_judge_answers_under_no_other_name():
    """Prevents its verdicts from being stored under a name that was sent to its address."""
    with SimulatedJudge() as judge:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Rank."}]}
        reply = httpx.post(f"{judge.base_url}/chat/completions", json=body)
    assert reply.status_code == 404
    assert "This is the simulated judge" in reply.json()["error"]["message"]


def test_a_stored_plan_with_a_foreign_name_opens_and_says_so(caplog):
    """Prevents an experiment of an earlier release that cannot be opened, and one that goes on under the name."""
    plan = ExperimentConfig().model_dump(mode="json")
    plan["judge"]["model"] = "gpt-4o-mini"
    with caplog.at_level(logging.WARNING):
        opened = stored_settings(plan, "Round 1 of 'old'")
    assert (opened.judge.kind, opened.judge.model) == ("simulated", "simulated-judge")
    assert "Round 1 of 'old': the simulated judge ranked under the name 'gpt-4o-mini'" in caplog.text


def test_a_stored_plan_with_an_address_keeps_its_judge():
    """Prevents a round whose judge was at an address from being ranked on by a new one in this process."""
    plan = ExperimentConfig().model_dump(mode="json")
    plan["judge"] |= {"model": "local", "base_url": "http://127.0.0.1:9/v1"}
    judge = stored_settings(plan, "round").judge
    assert (judge.kind, judge.model, judge.base_url) == ("openai", "local", "http://127.0.0.1:9/v1")
