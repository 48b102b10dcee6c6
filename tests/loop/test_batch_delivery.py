"""The provider's batch API: half the price, and nothing is submitted twice, whatever happens in between."""

from collections import Counter
from contextlib import ExitStack

import pytest

from cyclealign.chat_api.credentials import MIN_KEY_CHARACTERS
from cyclealign.errors import JudgeUnavailable, StoreError
from cyclealign.judge.templates import load_template
from cyclealign.loop.session import RoundSession
from tests.judge.test_templates import PROMPTS
from tests.loop.test_judge_faults import LISTS, best_first, config_for, rank_all, rank_in
from tests.support.batch_server import BatchServer
from tests.support.store_values import opened
from tests.support.stub_judges import stub_judge

pytestmark = pytest.mark.slow

BATCH = {
    "delivery": "batch",
    "batch_window_seconds": 0.05,
    "batch_poll_seconds": 0.02,
    "batch_search_seconds": 0.3,
    "batch_max_outage_seconds": 20,
}


@pytest.fixture
def database(one_database):
    """One kind of database: what differs between them is tested elsewhere."""
    return one_database


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
        assert all_ranked(rank_all(store, round_, config_for(server, **{**BATCH, "batch_search_seconds": 0})))
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


def test_a_batch_api_that_fails_for_a_while_gets_nothing_twice(store, round_):
    """Prevents a 502 while polling from submitting, and paying for, the whole batch again."""
    with BatchServer() as server:
        server.failing = [502, 500, 429, 503]
        assert all_ranked(rank_all(store, round_, config_for(server, **BATCH)))
    assert set(server.asked.values()) == {1}
    assert not server.failing


@pytest.mark.parametrize("how", ["the connection closes", "status 500", "it is listed late"])
def test_a_batch_whose_creation_got_no_reply_is_found_by_its_token(store, round_, how):
    """Prevents a lost reply to the creation from making two billed batches."""
    with BatchServer() as server:
        server.lost_replies = int(how != "status 500")
        server.fails_after_creating = how == "status 500"
        server.unlisted = 3 if how == "it is listed late" else 0
        assert all_ranked(rank_all(store, round_, config_for(server, **BATCH)))
    assert set(server.asked.values()) == {1}
    assert store.batches.pending("trial") == []


def test_a_refused_access_to_a_batch_stops_the_run_and_keeps_the_batch(store, round_):
    """Prevents a firewall or a key without rights from counting as a batch that is gone, which is paid for again."""
    with BatchServer() as server:
        server.failing = [403] * 1000
        with pytest.raises(JudgeUnavailable, match=r"The batch API refuses to poll.*bad gateway"):
            rank_all(store, round_, config_for(server, **BATCH))
        submitted = dict(server.asked)
        assert len(store.batches.pending("trial")) == 1
        server.failing = []
        assert all_ranked(rank_all(store, round_, config_for(server, **BATCH)))
        assert dict(server.asked) == submitted


def test_a_batch_that_cannot_be_asked_for_outlives_a_step_without_need_of_it(store, round_, monkeypatch):
    """Prevents a refused access from ending the record of a batch that a later step needs."""
    with BatchServer() as server:
        config = config_for(server, **BATCH)
        with monkeypatch.context() as patched:
            patched.setattr(store.calls, "record", kill)
            with pytest.raises(StoreError, match="killed"):
                rank_all(store, round_, config, lists=1)
        server.failing = [403]
        with ExitStack() as stack:
            assert len(rank_in(RoundSession(config, store, stack), round_, [1])) == 1
        assert not server.failing
        assert len(store.batches.pending("trial")) == 1


def test_an_outage_beyond_the_bound_stops_the_run_and_keeps_the_batch(store, round_):
    """Prevents a run that waits for ever, and a batch that is forgotten while it is billed."""
    with BatchServer() as server:
        server.failing = [502] * 1000
        with pytest.raises(JudgeUnavailable, match=r"judge\.batch_max_outage_seconds.*bad gateway"):
            rank_all(store, round_, config_for(server, **{**BATCH, "batch_max_outage_seconds": 0.3}))
        submitted = dict(server.asked)
        assert len(store.batches.pending("trial")) == 1
        server.failing = []
        assert all_ranked(rank_all(store, round_, config_for(server, **BATCH)))
        assert dict(server.asked) == submitted


def test_the_answered_calls_of_an_expired_batch_are_kept_and_booked(store, round_):
    """Prevents paying again for replies that an expired batch holds."""
    expired = {"code": "batch_expired", "message": "The window of 24 h has passed."}
    seen = Counter()

    def happening(number, line):
        seen[line["custom_id"]] += 1
        late = number % 2 and seen[line["custom_id"]] == 1 and len(server.batches) == 1
        return {"custom_id": line["custom_id"], "response": None, "error": expired} if late else None

    with BatchServer(happening, ends_as="expired") as server:
        assert all_ranked(rank_all(store, round_, config_for(server, **BATCH)))
    assert sorted(server.asked.values()) == [1] * LISTS + [2] * LISTS
    assert store.calls.spending("trial").tokens == 2 * LISTS * 110


def test_a_reasoning_judge_is_found_out_by_its_first_batch(store, round_):
    """Prevents every call of a batch from being refused for a parameter, five times over."""
    with BatchServer(judge=stub_judge("reasoning")) as server:
        assert all_ranked(rank_all(store, round_, config_for(server, **BATCH)))
    endpoint = server.url
    assert store.endpoints.refused_parameters(endpoint, "faulty") == {"max_tokens", "temperature"}
    assert len(server.batches) == 4  # refused twice for a parameter, cut off once, answered


def test_a_batch_with_replies_that_no_call_asks_for_stays_recorded(store, round_, monkeypatch):
    """Prevents a step of a resumed round from ending the batch of a later step, which would pay for it again."""
    with BatchServer() as server:
        config = config_for(server, **BATCH)
        with monkeypatch.context() as patched:
            patched.setattr(store.calls, "record", kill)
            with pytest.raises(StoreError, match="killed"):
                rank_all(store, round_, config)
        submitted = dict(server.asked)
        rank_all(store, round_, config, lists=1)
        assert len(store.batches.pending("trial")) == 1
        assert all_ranked(rank_all(store, round_, config))
        assert dict(server.asked) == submitted
    assert store.batches.pending("trial") == []


def kill(*given):
    raise StoreError("killed")


def test_a_run_that_is_killed_while_it_repeats_calls_submits_them_no_third_time(store, round_, monkeypatch):
    """Prevents the failed first batch from sending calls again that a second batch holds already."""
    set_id, shown = store.batches.set_id, BatchServer.shown
    polls = Counter()

    def kill_at_the_second(token, batch_id):
        set_id(token, batch_id)
        server.ready.clear()  # the second batch will still be under way when the run is resumed
        if len(server.batches) == 2:
            kill()

    def show(server, batch):
        polls[batch["id"]] += 1
        if polls["batch_2"] > 20:
            server.ready.set()
        return shown(server, batch)

    monkeypatch.setattr(BatchServer, "shown", show)
    with BatchServer(lambda number, line: {} if len(server.batches) == 1 else None) as server:
        with monkeypatch.context() as patched:
            patched.setattr(store.batches, "set_id", kill_at_the_second)
            with pytest.raises(StoreError, match="killed"):
                rank_all(store, round_, config_for(server, **BATCH))
        assert len(store.batches.pending("trial")) == 2
        assert all_ranked(rank_all(store, round_, config_for(server, **BATCH)))
    assert set(server.asked.values()) == {2}
    assert store.batches.pending("trial") == []


def test_a_provider_that_refuses_the_batch_says_why(store, round_):
    """Prevents a failed batch without a reason."""
    with BatchServer(ends_as="failed") as server:
        server.problem = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached for m."}
        found = rank_all(store, round_, config_for(server, **{**BATCH, "retries": 0}))
    assert all("Enqueued token limit" in each.unjudged_reason for each in found)
