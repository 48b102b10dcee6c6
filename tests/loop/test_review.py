"""People in a round: a scripted person answers by the store, as `cyclealign review` does, or by the form."""

import json
import threading
from contextlib import contextmanager

import httpx
import pytest
from prefect.settings import PREFECT_UI_ENABLED, temporary_settings

from cyclealign.config import load_config
from cyclealign.errors import StoreError
from cyclealign.judge import human_review
from cyclealign.loop.session import open_session
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.store import Store
from cyclealign.training import launcher
from flows import pause_form
from tests.support.launched import until
from tests.support.local_judge import unsure
from tests.support.paths import ROOT


@pytest.fixture
def doubtful(bench):
    """A bench whose judge wavers on every list; at most two are put to people, and the round waits for them."""
    bench.judge.script = unsure
    bench.set("review", lists=2, wait_minutes=10)
    bench.set("acceptance", min_win_rate=0.0)
    return bench


@contextmanager
def person(act):
    """Somebody who does ``act`` beside the run; what goes wrong there fails the test."""
    problems = []

    def run():
        try:
            act()
        except BaseException as error:  # handed to the test, in whose thread it counts
            problems.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join()
    assert problems == []


def asked(count=2):
    """The lists that are waiting, once there are so many."""

    def come():
        with Store.open() as store:
            found = [each for each in store.reviews.find("bench") if each.status == "waiting"]
        return found if len(found) == count else None

    return until(f"{count} lists to be waiting", lambda: bool(rounds()) and come())


def rounds():
    with Store.open() as store:
        return store.experiments.names() and store.experiments.rounds("bench")


def detail():
    with Store.open() as store:
        return store.history.detail("bench", 1)


def against_the_judge(each):
    """The judge's order turned round, as candidate ids."""
    with Store.open() as store:
        return store.rankings.by_prompt(each.round_id, "judge")[each.prompt.id].order[::-1]


def rank_all():
    for each in asked():
        with Store.open() as store:
            assert store.reviews.answer(each.round_id, each.prompt.id, against_the_judge(each))


def paused_run(prefect_server, *known):
    """The run that waits at its form, once there is one whose form is another than the ``known`` ones."""

    def come():
        body = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}}
        for run in httpx.post(f"{prefect_server}/flow_runs/filter", json=body).json():
            keys = run["state"]["state_details"]["run_input_keyset"]
            if keys["description"] not in known and page_of(prefect_server, run["id"], keys) is not None:
                return run["id"], keys
        return None

    return until("a run that is paused", come)


def page_of(prefect_server, run_id, keys):
    """What the form shows above its fields; it is stored a moment after the pause begins."""
    reply = httpx.get(f"{prefect_server}/flow_runs/{run_id}/input/{keys['description']}")
    return reply.json() if reply.status_code == 200 else None


def resume(prefect_server, run_id, **typed):
    reply = httpx.post(f"{prefect_server}/flow_runs/{run_id}/resume", json={"run_input": typed})
    assert reply.json()["status"] == "ACCEPT"


def test_a_persons_order_is_what_the_round_learns(doubtful, monkeypatch):
    """Prevents people's work from being stored, shown, and never learnt; or the judge's label from being lost by it."""
    jobs, real = [], launcher.train
    monkeypatch.setattr(launcher, "train", lambda job, *rest: jobs.append(job) or real(job, *rest))
    with temporary_settings({PREFECT_UI_ENABLED: False}), person(rank_all):
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


def test_a_form_that_was_filled_in_wrongly_is_shown_again(doubtful, prefect_server):
    """Prevents a slip in the form from being guessed at, or from costing the person the other answers."""
    pages = []

    def fill_in():
        first, second = asked()
        run_id, keys = paused_run(prefect_server)
        pages.append(page_of(prefect_server, run_id, keys))
        order = human_review.format_order(against_the_judge(first), human_review.letters_of(first))
        resume(prefect_server, run_id, list_1=order, list_2="A A")
        run_id, keys = paused_run(prefect_server, keys["description"])
        pages.append(page_of(prefect_server, run_id, keys))
        order = human_review.format_order(against_the_judge(second), human_review.letters_of(second))
        resume(prefect_server, run_id, list_1=order)

    with person(fill_in):
        code, output = doubtful.run()
    assert code == 0, output
    assert [page.count("## List") for page in pages] == [2, 1]
    assert "more than once: A" in pages[1]
    ranked = [each for each in detail()["prompts"] if each["review"]]
    assert [each["review"]["verdict"] for each in ranked] == [
        each["rankings"]["judge"]["order"][::-1] for each in ranked
    ]


def test_orders_from_a_terminal_end_the_pause_of_the_form(doubtful):
    """Prevents a run that waits for its form while everything has been answered elsewhere."""
    with person(rank_all):
        code, output = doubtful.run()
    assert code == 0, output
    assert [each["review"]["learnt"] for each in detail()["prompts"] if each["review"]] == [True, True]


def test_a_database_that_is_away_for_a_moment_does_not_end_the_watch(doubtful, monkeypatch):
    """Prevents a run that stays paused, hours after everything was answered, for one failed look at the database."""
    real, failed = pause_form.over, []

    def over(*rest):
        if not failed:
            failed.append(True)
            raise StoreError("The database stopped answering.")
        return real(*rest)

    monkeypatch.setattr(pause_form, "over", over)
    with person(rank_all):
        code, output = doubtful.run()
    assert code == 0, output
    assert failed
    assert [each["review"]["learnt"] for each in detail()["prompts"] if each["review"]] == [True, True]


@pytest.mark.parametrize("seen", [True, False])
def test_a_round_goes_on_when_nobody_comes(doubtful, seen):
    """Prevents a run that fails, or stands for ever, because nobody was there."""
    doubtful.set("review", wait_minutes=0.05)
    with temporary_settings({PREFECT_UI_ENABLED: seen}):
        code, output = doubtful.run()
    assert code == 0, output
    assert doubtful.rounds()[0]["verdict"] == "accepted"
    assert [each["review"]["status"] for each in detail()["prompts"] if each["review"]] == ["waiting", "waiting"]


def test_a_resumed_round_asks_for_no_list_twice(doubtful):
    """Prevents people from ranking a list again because a run was cut off after they had done it."""
    doubtful.judge.status = lambda _: 401 if rounds() and detail()["adapter"] else 200  # the evaluation fails
    with temporary_settings({PREFECT_UI_ENABLED: False}), person(rank_all):
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
    monkeypatch.setattr(TransformersPolicy, "rest", lambda _: waiting.append(still_asked()))
    with temporary_settings({PREFECT_UI_ENABLED: False}), person(rank_all):
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
        session.rest()
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
    foreseen = json.loads(said[said.index("[") :])
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
