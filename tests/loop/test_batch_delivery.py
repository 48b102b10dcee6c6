"""The provider's batch API: half the price, and nothing is submitted twice, whatever happens in between."""

import pytest

from cyclealign.chat_api.client import MIN_KEY_CHARACTERS
from cyclealign.errors import StoreError
from cyclealign.judge.templates import load_template
from tests.judge.test_templates import PROMPTS
from tests.loop.test_judge_faults import LISTS, best_first, config_for, rank_all
from tests.support.batch_server import BatchServer
from tests.support.store_values import opened

BATCH = {"delivery": "batch", "batch_window_seconds": 0.05, "batch_poll_seconds": 0.02}


@pytest.fixture
def database(migrated_sqlite, tmp_path):
    """One kind of database: what differs between them is tested elsewhere."""
    path = tmp_path / "memory.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture
def round_(store, monkeypatch):
    monkeypatch.setenv("FAULTY_KEY", "k" * MIN_KEY_CHARACTERS)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return opened(store, templates=[load_template(PROMPTS, "rank")])


def all_ranked(found):
    return [each.ranking("x").order for each in found] == [best_first(number) for number in range(LISTS)]


def test_a_batch_is_ranked_as_single_calls_are_at_half_the_price(store, round_):
    """Prevents replies that are matched by their place: the server sends them back in reverse."""
    with BatchServer() as server:
        assert all_ranked(rank_all(store, round_, config_for(server, **BATCH)))
        calls = sum(server.asked.values())
        assert calls == len(server.asked) == LISTS * 2
        assert store.calls.spending("trial").usd == pytest.approx(calls * 100 * 0.5 / 1e6)
        assert store.batches.pending("trial") == []
        assert all_ranked(rank_all(store, round_, config_for(server, **BATCH)))
    assert sum(server.asked.values()) == calls


@pytest.mark.parametrize("moment", ["the batch is not named yet", "it is under way", "its replies are not stored"])
def test_a_run_that_is_killed_finds_its_batch_again(store, round_, monkeypatch, moment):
    """Prevents a batch that is paid for and forgotten. An error that ends the run at once stands for the kill."""
    hooks = {
        "the batch is not named yet": (store.batches, "set_id", lambda *_: None),
        "it is under way": (store.batches, "set_id", store.batches.set_id),
        "its replies are not stored": (store.calls, "record", lambda *_: None),
    }
    part, name, before = hooks[moment]

    def kill(*given):
        before(*given)
        raise StoreError("killed")

    with BatchServer() as server:
        with monkeypatch.context() as patched:
            patched.setattr(part, name, kill)
            with pytest.raises(StoreError, match="killed"):
                rank_all(store, round_, config_for(server, **BATCH))
        submitted = dict(server.asked)
        assert len(submitted) == LISTS * 2
        assert len(store.batches.pending("trial")) == 1
        assert all_ranked(rank_all(store, round_, config_for(server, **BATCH)))
        assert dict(server.asked) == submitted
        assert store.batches.pending("trial") == []


def test_a_batch_that_never_reached_the_provider_is_submitted_once(store, round_):
    """Prevents calls that wait for ever for a batch that is not there."""
    with BatchServer() as server:
        store.batches.begin(round_.id, "lost", ["some key"])
        assert all_ranked(rank_all(store, round_, config_for(server, **BATCH)))
        assert set(server.asked.values()) == {1}
        assert store.batches.pending("trial") == []


def test_what_failed_in_a_batch_is_submitted_again_and_nothing_else(store, round_):
    """Prevents a round that pays for a whole batch because of one call of it, or that takes an error for a verdict."""
    struck = set()

    def happening(number, line):
        if number % 5 == 0 and line["custom_id"] not in struck:
            struck.add(line["custom_id"])
            response = {"status_code": 500, "body": {"error": {"message": "scripted"}}}
            return {"custom_id": line["custom_id"], "response": response, "error": None}
        if number % 5 == 1 and line["custom_id"] not in struck:
            struck.add(line["custom_id"])
            return {}  # no line at all
        return None

    with BatchServer(happening) as server:
        assert all_ranked(rank_all(store, round_, config_for(server, **BATCH, retries=10)))
    assert len(struck) > LISTS / 4
    assert all(count == 1 for key, count in server.asked.items() if key not in struck)


def test_a_batch_that_expires_leaves_its_calls_failed_and_named(store, round_):
    with BatchServer(lambda number, line: {}, ends_as="expired") as server:
        found = rank_all(store, round_, config_for(server, **{**BATCH, "retries": 0}))
    assert all(each.ranking("x") is None and each.problems for each in found)
    failed = store.history.detail("trial", 1)["failed_calls"]
    assert {each["error"] for each in failed} == {"The batch ended as 'expired' without a result for this call."}
