"""Human review through the form of a paused run."""

import httpx
import pytest
from prefect.settings import PREFECT_UI_ENABLED, temporary_settings

from cyclealign.errors import StoreError
from cyclealign.judge import human_review
from flows import pause_form
from tests.support.launched import until
from tests.support.reviewer import against_the_judge, asked, detail, person, rank_all, with_doubtful_lists


@pytest.fixture
def doubtful(flow_bench):
    return with_doubtful_lists(flow_bench)


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
    """Return the text above the form's fields; it is stored a moment after the pause begins."""
    reply = httpx.get(f"{prefect_server}/flow_runs/{run_id}/input/{keys['description']}")
    return reply.json() if reply.status_code == 200 else None


def resume(prefect_server, run_id, **typed):
    reply = httpx.post(f"{prefect_server}/flow_runs/{run_id}/resume", json={"run_input": typed})
    assert reply.json()["status"] == "ACCEPT"


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
    real, failed = pause_form.settled, []

    def settled(*rest):
        if not failed:
            failed.append(True)
            raise StoreError("The database stopped answering.")
        return real(*rest)

    monkeypatch.setattr(pause_form, "settled", settled)
    with person(rank_all):
        code, output = doubtful.run()
    assert code == 0, output
    assert failed
    assert [each["review"]["learnt"] for each in detail()["prompts"] if each["review"]] == [True, True]


@pytest.mark.parametrize("seen", [True, False])
def test_a_run_continues_when_nobody_fills_in_the_form(doubtful, seen):
    """Prevents a run that fails, or stays paused for ever, because there was no reviewer; also without a UI."""
    doubtful.set("review", wait_minutes=0.05)
    with temporary_settings({PREFECT_UI_ENABLED: seen}):
        code, output = doubtful.run()
    assert code == 0, output
    assert doubtful.rounds()[0]["verdict"] == "accepted"
    assert [each["review"]["status"] for each in detail()["prompts"] if each["review"]] == ["waiting", "waiting"]
