"""Human review in a round: a scripted reviewer answers through the store, as `cyclealign review` does."""

import json

import pytest

from cyclealign.config import load_config
from cyclealign.loop.session import open_session
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.store import Store
from cyclealign.training import launcher
from tests.support.paths import ROOT
from tests.support.reviewer import against_the_judge, asked, detail, person, rank_all, rounds, with_doubtful_lists


@pytest.fixture
def doubtful(bench):
    return with_doubtful_lists(bench)


def test_a_persons_order_is_what_the_round_learns(doubtful, monkeypatch):
    """Prevents people's work from being stored, shown, and never learnt; or the judge's label from being lost by it."""
    jobs, real = [], launcher.train
    monkeypatch.setattr(launcher, "train", lambda job, *rest: jobs.append(job) or real(job, *rest))
    with person(rank_all):
        code, output = doubtful.run()
    assert code == 0, output
    assert "cyclealign review bench" in output
    ranked = [each for each in detail()["prompts"] if each["review"]]
    assert [each["review"]["learnt"] for each in ranked] == [True, True]
    for each in ranked:
        judged = each["rankings"]["judge"]["order"]
        assert each["review"]["verdict"] == judged[::-1]
        with Store.open() as store:
            tokens = {one.id: one.token_ids for one in store.candidates.by_prompt(1)[each["id"]]}
        learnt = tuple(tokens[one] for one in judged[::-1])
        (lesson,) = [one for one in jobs[0].lists if one.answers == learnt]
        assert (lesson.weight, lesson.pairs) == (1.0, None)


def test_a_round_continues_when_nobody_answers(doubtful):
    """Prevents a run that fails, or waits for ever, because there was no reviewer."""
    doubtful.set("review", wait_minutes=0.05)
    code, output = doubtful.run()
    assert code == 0, output
    assert doubtful.rounds()[0]["verdict"] == "accepted"
    assert [each["review"]["status"] for each in detail()["prompts"] if each["review"]] == ["waiting", "waiting"]


def test_a_resumed_round_asks_for_no_list_twice(doubtful):
    """Prevents people from ranking a list again because a run was cut off after they had done it."""
    doubtful.judge.status = lambda _: 401 if rounds() and detail()["adapter"] else 200  # the evaluation fails
    with person(rank_all):
        code, output = doubtful.run()
    assert code == 1, output
    with Store.open() as store:
        before = store.reviews.find("bench")
    doubtful.judge.status = None
    code, output = doubtful.run()  # it would wait ten minutes if anything were asked
    assert code == 0, output
    with Store.open() as store:
        assert store.reviews.find("bench") == before


def test_a_round_that_has_been_trained_waits_for_nobody(doubtful):
    """Prevents a resumed round from holding everything up for orders that nothing would learn."""
    doubtful.judge.status = lambda _: 401 if rounds() and detail()["adapter"] else 200  # the evaluation fails
    doubtful.set("review", wait_minutes=0)
    assert doubtful.run()[0] == 1
    doubtful.judge.status = None
    doubtful.set("review", wait_minutes=10)
    code, output = doubtful.run()
    assert code == 0, output
    assert len(asked()) == 2
    assert "Rank 2 lists" not in output


def test_a_list_that_people_were_asked_about_is_no_example_of_agreement(doubtful):
    """Prevents the judge from being shown, as agreed, an order that was in doubt, and from being measured on it."""
    doubtful.set("review", wait_minutes=0)
    doubtful.set("demonstrations", max_chance=1.0)
    code, output = doubtful.run()
    assert code == 0, output
    round_ = detail()
    asked_about = {each["id"] for each in round_["prompts"] if each["review"]}
    promoted = {each["prompt_id"] for each in round_["demonstrations"]["promoted"]}
    assert len(asked_about) == 2
    assert promoted
    assert not promoted & asked_about


def test_nobody_is_asked_where_the_judge_is_steady(bench):
    """Prevents a run that waits for people with nothing to ask them."""
    bench.set("review", lists=4, wait_minutes=10)
    code, output = bench.run()
    assert code == 0, output
    assert all(each["review"] is None for each in detail()["prompts"])


def test_the_policy_rests_while_people_are_waited_for(doubtful, monkeypatch):
    """Prevents a served model from holding a GPU for the hours that people take."""
    waiting = []
    monkeypatch.setattr(TransformersPolicy, "release_memory", lambda _: waiting.append(still_asked()))
    with person(rank_all):
        code, output = doubtful.run()
    assert code == 0, output
    assert waiting[0] > 0  # the second rest is that of training
    assert waiting[-1] == 0


def still_asked():
    with Store.open() as store:
        return sum(each.status == "waiting" for each in store.reviews.find("bench"))


def test_a_policy_that_was_not_needed_yet_is_not_loaded_to_rest(bench):
    """Prevents a resumed round from loading a model only to put it to sleep."""
    with open_session(load_config(bench.write())) as session:
        session.release_policy_memory()
        assert "policy" not in vars(session)


def test_a_judge_that_is_asked_once_a_list_is_refused(bench):
    """Prevents a setting that silently never asks anybody."""
    bench.set("review", lists=2)
    bench.set("judge", num_orders=1)
    code, output = bench.run()
    assert code == 1
    assert "judge.num_orders of at least 2" in output


def test_what_people_ranked_measures_the_judge_unless_it_was_shown_to_it(doubtful):
    """Prevents verdicts that calibrate nothing, a judge that is examined on what it was told, and calls unforeseen."""
    written = written_demonstrations(doubtful)
    doubtful.set("review", wait_minutes=0)
    doubtful.set("demonstrations", dynamic=0)
    assert doubtful.run()[0] == 0
    assert "judge_accuracy_reviewed" not in doubtful.rounds()[0]["metrics"]
    shown, kept = asked()
    for each in (shown, kept):
        with Store.open() as store:
            store.reviews.answer(each.round_id, each.prompt.id, against_the_judge(each))
        if each == shown:
            doubtful.command("review", "bench", "--export", str(written))
    _, said = doubtful.command("estimate", str(doubtful.write()), "--json")
    foreseen, _ = json.JSONDecoder().raw_decode(said[said.index("[") :])  # remarks follow, on standard error
    assert doubtful.run()[0] == 0
    reviewed = doubtful.rounds()[1]["metrics"]["judge_accuracy_reviewed"]
    assert reviewed.count == 1
    assert reviewed.value <= 0.5  # the pairs that it decides, with the best answer, it orders otherwise than the person
    with Store.open() as store, store.engine.connect() as connection:
        spent = "SELECT sum(answered_calls) FROM judge_spending WHERE round = 2 AND purpose = 'accuracy'"
        paid = connection.exec_driver_sql(spent).scalar()
    assert [each["calls"] for each in foreseen if each["purpose"] == "accuracy"] == [paid]


def written_demonstrations(bench):
    """A folder of templates for this test alone; its file of written demonstrations."""
    folder = bench.home / "templates"
    folder.mkdir()
    for name in ("rank.jinja", "demonstrations.jsonl"):
        (folder / name).write_text((ROOT / "prompts" / name).read_text())
    bench.set("", templates=str(folder))
    return folder / "demonstrations.jsonl"
