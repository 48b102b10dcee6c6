"""Rounds of models that think, and of models whose chat template prints the time."""

import json
from dataclasses import replace
from itertools import count

import pytest
from transformers.utils import chat_template_utils

from cyclealign.config import ExperimentConfig, PolicySettings
from cyclealign.loop import train as train_step
from cyclealign.loop.settings import effective_settings
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import Round, RoundPlan
from cyclealign.store import Store
from tests.support.chat_models import make_chat_model

OPENING = "<think"
CANDIDATES = "SELECT token_ids, thought_tokens FROM candidate"


@pytest.fixture(scope="module")
def thinking_model(tmp_path_factory):
    return make_chat_model("qwen3_thinking", tmp_path_factory.mktemp("qwen3"))


@pytest.fixture(scope="module")
def dated_model(tmp_path_factory):
    return make_chat_model("llama_dated", tmp_path_factory.mktemp("llama"))


@pytest.fixture
def jobs(monkeypatch):
    """The training jobs of the run."""
    seen, train = [], train_step.launcher.train

    def recorded(job, *arguments):
        seen.append(job)
        return train(job, *arguments)

    monkeypatch.setattr(train_step.launcher, "train", recorded)
    return seen


def shortest_first(answers):
    """The order that log-probs tend to give too, so that an agreement is promoted."""
    return json.dumps({"ranking": [label for label, _ in sorted(answers, key=lambda answer: len(answer[1]))]})


def rows(bench, query):
    return bench.query(query)


def run(bench, model, **policy):
    bench.set("policy", model=str(model), max_new_tokens=24, **policy)
    bench.set("demonstrations", max_chance=1.0, min_gain=-1)
    bench.set("acceptance", min_win_rate=0.0)
    code, output = bench.run()
    assert code == 0, output


def test_the_judge_the_demonstrations_and_training_see_answers_without_thoughts(bench, thinking_model, jobs):
    """Prevents labels on thoughts, demonstrations with thoughts, and training that learns what was not judged."""
    bench.judge.script = shortest_first
    run(bench, thinking_model)
    with Store.open() as store:
        detail = store.history.detail("bench", 1)
    candidates = [each for row in detail["prompts"] for each in row["candidates"]]
    thinking = [each for each in candidates if each["thought"]]
    assert len(thinking) > len(candidates) / 2
    promoted = [answer for each in detail["demonstrations"]["promoted"] for answer in each["answers"]]
    asked = [message["content"] for body in bench.judge.bodies for message in body["messages"]]
    assert promoted
    begun = [each["text"] for each in thinking if each["text"].lstrip().startswith("<think>")]
    assert not begun
    assert not [text for text in (*promoted, *asked) if OPENING in text]
    lengths = {tuple(json.loads(ids)): thought or 0 for ids, thought in rows(bench, CANDIDATES)}
    (job,) = jobs
    assert all(ranked.thought_lengths for ranked in job.lists)
    for ranked in job.lists:
        assert ranked.thought_lengths == tuple(lengths[answer] for answer in ranked.answers)
    check_reference(job, thinking_model)
    (tokens,) = [metric["value"] for metric in detail["metrics"] if metric["name"] == "answer_tokens"]
    assert tokens < sum(map(len, lengths)) / len(lengths)


def check_reference(job, model):
    """Prevents a reference that covers the thought, which is not learnt: the stored sums are those of the answers."""
    policy = TransformersPolicy(PolicySettings(), str(model))
    ranked = job.lists[0]
    scored = policy.token_logprobs([(*ranked.prompt_ids, *answer) for answer in ranked.answers])
    learnt = [len(answer) - thought for answer, thought in zip(ranked.answers, ranked.thought_lengths, strict=True)]
    sums = [sum(row[len(row) - count :]) for row, count in zip(scored, learnt, strict=True)]
    assert list(ranked.parent_logprobs) == pytest.approx(sums, abs=1e-3)


def test_kept_thoughts_are_judged_and_learnt(bench, thinking_model, jobs):
    """Prevents `keep` from doing what `strip` does."""
    run(bench, thinking_model, thinking="keep")
    assert any(OPENING in message["content"] for body in bench.judge.bodies for message in body["messages"])
    assert rows(bench, "SELECT count(thought) FROM candidate") == [(0,)]
    assert all(ranked.thought_lengths is None for ranked in jobs[0].lists)


def test_thoughts_that_never_end_count_as_truncated_and_are_set_aside(bench, thinking_model):
    """Prevents a judge that is paid to rank fragments of thoughts."""
    bench.set("policy", model=str(thinking_model), max_new_tokens=3, max_truncated=0.5)
    code, output = bench.run()
    assert code == 1
    assert "were cut at policy.max_new_tokens = 3" in output
    assert "within the thought" in output
    assert not any(bench.judge.bodies)
    texts = rows(bench, "SELECT text, finish_reason FROM candidate WHERE thought IS NOT NULL")
    assert ("", "length") in texts


class Clock:
    """Replaces ``datetime`` for templates; another day at each look."""

    days = count(1)

    @classmethod
    def now(cls):
        return cls

    @classmethod
    def strftime(cls, form):
        return f"day {next(cls.days)}"


def test_a_round_uses_the_prompts_as_they_were_rendered_once(bench, dated_model, jobs, monkeypatch):
    """Prevents a round over midnight from training and scoring on other prompts than were answered."""
    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    bench.set("evaluation", labelled_lists=0)  # of prompts that the round does not store
    run(bench, dated_model)
    stored = {tuple(json.loads(ids)) for (ids,) in rows(bench, "SELECT token_ids FROM round_prompt")}
    assert len(stored) == 7
    assert {ranked.prompt_ids for ranked in jobs[0].lists} <= stored
    assert next(Clock.days) == 7 + 1  # each of the seven prompts was rendered once
    policy = TransformersPolicy(PolicySettings(max_new_tokens=24), str(dated_model))
    joined = (
        "SELECT drawn.token_ids, candidate.token_ids, candidate.logprob_sum FROM candidate JOIN round_prompt AS drawn "
        "ON drawn.round_id = candidate.round_id AND drawn.prompt_id = candidate.prompt_id WHERE adapter_id IS NULL"
    )
    for prompt_ids, answer_ids, logprob_sum in rows(bench, joined):
        ids = json.loads(answer_ids)
        (values,) = policy.token_logprobs([[*json.loads(prompt_ids), *ids]])
        assert sum(values[-len(ids) :]) == pytest.approx(logprob_sum, abs=1e-3)


def test_an_open_round_of_an_earlier_version_keeps_its_thoughts():
    """Prevents a round whose first answers were judged with their thoughts, and the others without."""
    plan = RoundPlan("x", {"policy": {"model": "demo"}}, 0, (), (), (), (), "m")
    round_ = Round(1, "x", 1, plan, None)
    assert effective_settings(ExperimentConfig(), round_, {"generate"}).settings.policy.thinking == "keep"
    assert effective_settings(ExperimentConfig(), round_, ()).settings.policy.thinking == "strip"
    now = Round(1, "x", 1, replace(plan, settings=ExperimentConfig().model_dump(mode="json")), None)
    assert effective_settings(ExperimentConfig(), now, {"generate"}).settings.policy.thinking == "strip"
