"""An open round takes the corrections that it can take, says the rest, and never comes to a dead end."""

import shutil
from pathlib import Path

import pytest

from cyclealign.store import Store
from tests.support.paths import ROOT


def opened() -> dict:
    with Store.open() as store:
        return store.history.detail("bench", 1)


@pytest.fixture
def templates(bench) -> Path:
    """A folder of templates of the experiment's own, to be edited."""
    folder = bench.home / "templates"
    shutil.copytree(ROOT / "prompts", folder)
    bench.set("", templates=str(folder))
    return folder


def test_the_setting_that_the_message_names_is_applied_at_the_next_start(bench):
    """Prevents the dead end of a message that names a setting which the open round then ignores."""
    bench.set("policy", max_new_tokens=1, top_up=8, max_truncated=0.0)
    code, output = bench.run()
    assert code == 1
    assert "policy.max_truncated and rerun" in output
    assert "cyclealign abandon bench" in output
    answers = {each["id"] for prompt in opened()["prompts"] for each in prompt["candidates"]}
    bench.set("policy", max_truncated=1.0)
    code, output = bench.run()
    assert code == 0, output
    assert "Changed now: policy.max_truncated: 0.0 -> 1.0" in output
    row = opened()
    assert answers <= {each["id"] for prompt in row["prompts"] for each in prompt["candidates"]}
    assert row["settings"]["policy"]["max_truncated"] == 1.0
    assert [(change["setting"], change["before"], change["after"]) for change in row["changes"]] == [
        ("policy.max_truncated", 0.0, 1.0)
    ]
    assert row["notes"]["settings"] == "changed while the round was open: policy.max_truncated: 0.0 -> 1.0"


def test_a_retired_judge_gives_way_to_another_as_long_as_none_has_replied(bench):
    """Prevents an experiment that can only ask a model which no longer exists."""
    bench.judge.status = lambda number: 404
    bench.set("judge", model="retired")
    assert bench.run()[0] == 1
    bench.judge.status = None
    bench.set("judge", model="local", num_orders=1)
    code, output = bench.run()
    assert code == 0, output
    assert "judge.model: retired -> local" in output
    assert {body["model"] for body in bench.judge.bodies[-3:]} == {"local"}
    assert opened()["settings"]["judge"]["model"] == "local"


def test_settings_of_stages_that_have_rows_are_named_with_the_way_to_have_them(bench):
    """Prevents a change that is ignored in silence, and labels of one round by two judges."""
    bench.set("training", min_preference=1.0, objective="pro")
    bench.judge.script = lambda answers: " = ".join(label for label, _ in answers)
    assert bench.run()[0] == 1  # all answers tie, so there is nothing to learn
    asked = len(bench.judge.bodies)
    bench.set("policy", temperature=0.5)
    bench.set("judge", model="other")
    bench.set("prompts", per_round=2)
    code, output = bench.run()
    assert code == 1
    for words in (
        "Ignored until the next round:",
        "policy.temperature: 1.0 -> 0.5 (the round has answers)",
        "judge.model: local -> other (the round has replies of its judge)",
        "prompts.per_round: 4 -> 2 (fixed when the round was opened)",
        "cyclealign abandon bench, then rerun",
    ):
        assert words in output
    assert len(bench.judge.bodies) == asked
    assert opened()["changes"] == []


def test_an_edited_template_is_taken_before_the_first_reply(bench, templates):
    """Prevents a round that goes on with a template whose mistake was mended before it was ever used."""
    bench.judge.status = lambda number: 401
    assert bench.run()[0] == 1
    bench.judge.status = None
    file = templates / "rank.jinja"
    file.write_text(file.read_text().replace("You rank", "You carefully rank"))
    lines = (templates / "demonstrations.jsonl").read_text().splitlines()
    (templates / "demonstrations.jsonl").write_text("\n".join(lines[1:]))
    code, output = bench.run()
    assert code == 0, output
    assert "rank.jinja:" in output
    assert "demonstrations shown:" in output
    assert "carefully" in bench.judge.bodies[-1]["messages"][0]["content"]
    row = opened()
    assert "carefully" in row["templates"][0]["text"]
    assert len(row["demonstrations"]["in_use"]) == len(lines) - 1


def test_an_edited_template_is_named_and_left_for_the_next_round_after_a_reply(bench, templates):
    """Prevents a round with labels of two templates, and an edit that seems to be in use."""
    bench.set("training", objective="pro")
    bench.judge.script = lambda answers: " = ".join(label for label, _ in answers)
    assert bench.run()[0] == 1
    file = templates / "rank.jinja"
    file.write_text(file.read_text().replace("You rank", "You carefully rank"))
    _, output = bench.run()
    assert "rank.jinja:" in output
    assert "(the round has replies of its judge)" in output
    assert "carefully" not in opened()["templates"][0]["text"]


def test_a_prompt_that_no_longer_fits_is_refused_and_the_round_stays_as_it_was(bench):
    """Prevents answers without room, where more tokens are asked for before anything was generated."""
    bench.judge.status = lambda number: 401
    bench.set("health", lists=1)
    assert bench.run()[0] == 1
    bench.set("policy", max_new_tokens=120)
    code, output = bench.run()
    assert code == 1
    assert "does not fit the model's context of 128" in output
    assert opened()["settings"]["policy"]["max_new_tokens"] == 8


def test_a_change_that_contradicts_a_kept_setting_is_refused(bench):
    """Prevents a mixture of settings that no config could have."""
    bench.set("judge", num_orders=1)
    bench.judge.script = lambda answers: " = ".join(label for label, _ in answers)
    bench.set("training", objective="pro")
    assert bench.run()[0] == 1
    bench.set("judge", num_orders=2)
    bench.set("review", lists=2)
    code, output = bench.run()
    assert code == 1
    assert "keeps its judge.num_orders" in output
    assert "review.lists needs judge.num_orders" in output


def test_another_model_is_refused_in_an_open_round_too(bench, tiny_model):
    """Prevents another model from being ignored until the next round, which then refuses it."""
    bench.judge.status = lambda number: 401
    assert bench.run()[0] == 1
    other = bench.home / "other"
    shutil.copytree(tiny_model, other)
    bench.set("policy", model=str(other))
    code, output = bench.run()
    assert code == 1
    assert "began with the model" in output


def test_smaller_batches_keep_the_answers_that_are_stored(bench, monkeypatch):
    """Prevents answers in memory that differ from those in the database, where a batch is only partly there."""
    from cyclealign.policy.transformers_policy import TransformersPolicy

    answer, batches = TransformersPolicy.answer, []

    def failing(self, prompts, count, seed):
        batches.append(len(prompts))
        if len(batches) == 2:
            raise KeyboardInterrupt
        return answer(self, prompts, count, seed)

    bench.set("policy", batch_prompts=3)
    monkeypatch.setattr(TransformersPolicy, "answer", failing)
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    before = {each["id"]: each["text"] for prompt in opened()["prompts"] for each in prompt["candidates"]}
    bench.set("policy", batch_prompts=2)
    code, output = bench.run()
    assert code == 0, output
    after = {each["id"]: each["text"] for prompt in opened()["prompts"] for each in prompt["candidates"]}
    assert before
    assert before.items() <= after.items()
    assert batches[2] == 1  # the one prompt of the second batch of two that had no answers


def test_the_weights_of_prompts_follow_the_settings_until_training(bench):
    """Prevents an objective that is applied to weights of another one."""
    bench.set("training", min_preference=1.0)
    bench.judge.script = lambda answers: " = ".join(label for label, _ in answers)
    assert bench.run()[0] == 1
    bench.set("training", weight="uniform")
    assert bench.run()[0] == 1
    assert {each["agreement"]["weight"] for each in opened()["prompts"] if each["agreement"]} == {1.0}


def test_a_new_limit_of_replies_pays_for_no_reply_twice(bench):
    """Prevents judge.max_tokens, which is part of every request, from asking again all that was answered under it."""
    bench.set("judge", min_judged=1.0)
    bench.judge.status = lambda number: 500 if number >= 5 else 200
    assert bench.run()[0] == 1
    bench.judge.status = None
    bench.set("judge", max_tokens=512)
    code, output = bench.run()
    assert code == 0, output
    assert "judge.max_tokens: 256 -> 512" in output
    answered = [body for body in bench.judge.bodies if body["max_tokens"] == 256][:5]
    later = [body["messages"] for body in bench.judge.bodies if body["max_tokens"] == 512]
    assert len(answered) == 5
    assert later
    assert not any(body["messages"] in later for body in answered)
