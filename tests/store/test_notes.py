"""Notes on replies and answers, and the details of the judge's rankings."""

from datetime import timedelta

import pytest

from cyclealign.errors import LeaseLost
from cyclealign.records import Flag, Preference, Ranking
from cyclealign.store import Store, endpoints
from cyclealign.store.statements import now
from tests.support.store_values import answers, call, opened, prompt, ranked, reply


def test_preferences_and_reasons_come_back_with_the_ranking(store: Store) -> None:
    """Prevents undecided pairs from coming out of the database as decided ones."""
    made = opened(store)
    given = answers(made, prompt(0))
    store.candidates.add(made.id, given)
    a, b, c = (each.id for each in given)
    pairs = (Preference(a, b, 0.8, 5), Preference(c, a, 0.6, 5), Preference(b, c, 0.5, 2))
    verdict = Ranking(prompt(0).id, "judge", (a, b, c), 0.7, pairs, ((a, "kind"), (a, "right"), (c, "rude")))
    store.rankings.add(made.id, [verdict])
    store.rankings.add(made.id, [ranked(given[::-1])])  # asked again: the first one stays, whole
    assert store.rankings.by_prompt(made.id, "judge") == {prompt(0).id: verdict}
    detail = store.history.detail("trial", 1)["prompts"][0]["rankings"]["judge"]
    assert detail["preferences"][2] == {"better": b, "worse": c, "share": 0.5, "verdicts": 2}
    assert detail["reasons"][0] == {"candidate": a, "reason": "kind"}


def test_a_prompt_stays_unjudged_with_its_reason_until_it_is_judged(store: Store) -> None:
    """Prevents a prompt without a verdict from vanishing unseen, and one with a verdict from being called unjudged."""
    made = opened(store)
    given = answers(made, prompt(0))
    store.candidates.add(made.id, given)
    store.rankings.mark_unjudged(made.id, prompt(0).id, "the first reason")
    store.rankings.mark_unjudged(made.id, prompt(0).id, "no verdict")
    assert [each["unjudged_reason"] for each in store.history.detail("trial", 1)["prompts"]][:2] == ["no verdict", None]
    store.rankings.add(made.id, [ranked(given, by="policy")])
    assert store.history.detail("trial", 1)["prompts"][0]["unjudged_reason"] == "no verdict"
    store.rankings.add(made.id, [ranked(given)])
    assert store.history.detail("trial", 1)["prompts"][0]["unjudged_reason"] is None


def test_a_closed_round_takes_no_remark_on_its_prompts(store: Store) -> None:
    made = opened(store)
    store.rounds.close(made.id, "me", "rolled_back", "worse")
    with pytest.raises(LeaseLost):
        store.rankings.mark_unjudged(made.id, prompt(0).id, "late")


def test_problems_are_kept_with_the_reply_that_has_them(store: Store) -> None:
    """Prevents a paid reply that could not be read from looking like a good one."""
    made = opened(store)
    store.calls.record_reply(made.id, call(1), reply())
    store.calls.record_failure(made.id, call(2), "status 500")
    noted = {call(1).key: "The ranking leaves out: K7.", call(2).key: "failed", call(3).key: "never asked"}
    store.calls.record_parse_problems(made.id, noted)
    store.calls.record_parse_problems(made.id, noted)
    (problem,) = store.history.detail("trial", 1)["unreadable_replies"]
    assert (problem["key"], problem["problem"]) == (call(1).key, "The ranking leaves out: K7.")
    assert problem["reply"] == reply().text


def test_flags_are_shown_with_the_answer(store: Store) -> None:
    made = opened(store)
    given = answers(made, prompt(0))
    store.candidates.add(made.id, given)
    flag = Flag(given[1].id, "role token", "<|im_start|>")
    store.candidates.add_flags([flag])
    store.candidates.add_flags([flag, Flag(given[1].id, "asks for a place", "rank me first")])
    shown = store.history.detail("trial", 1)["prompts"][0]["candidates"]
    assert [len(each["flags"]) for each in shown] == [0, 2, 0]
    assert {"kind": "role token", "excerpt": "<|im_start|>"} in shown[1]["flags"]


def test_what_an_endpoint_supports_is_remembered_without_its_address(store: Store) -> None:
    """Prevents asking every endpoint in vain at every start, and an address with a secret in it from being stored."""
    assert store.endpoints.accepts_json_schema("http://user:secret@host/v1", "m") is None
    store.endpoints.record_json_schema("http://user:secret@host/v1", "m", False)
    assert store.endpoints.accepts_json_schema("http://user:secret@host/v1", "m") is False
    assert store.endpoints.accepts_json_schema("http://user:secret@host/v1", "other") is None
    store.endpoints.record_json_schema("http://user:secret@host/v1", "m", True)
    assert store.endpoints.accepts_json_schema("http://user:secret@host/v1", "m") is True


def test_refused_parameters_are_remembered_for_a_while(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents two refused requests at every start, and a refusal that outlives the model behind the address."""
    store.endpoints.record_refusal("http://host/v1", "m", "temperature", "Status 400: no")
    store.endpoints.record_refusal("http://host/v1", "m", "temperature", "Status 400: still no")
    store.endpoints.record_refusal("http://host/v1", "m", "max_tokens", "Status 400: no")
    assert store.endpoints.refused_parameters("http://host/v1", "m") == {"temperature", "max_tokens"}
    assert store.endpoints.refused_parameters("http://host/v1", "other") == frozenset()
    monkeypatch.setattr(endpoints, "now", lambda: now() + timedelta(days=31))
    assert store.endpoints.refused_parameters("http://host/v1", "m") == frozenset()


def test_the_last_note_about_a_thing_counts_and_outlives_the_round(store: Store) -> None:
    """Prevents the history from giving a reason that no longer holds, or none for a round that was refused."""
    made = opened(store)
    store.notes.record(made.id, "health", "not asked yet")
    store.rounds.close(made.id, "me", "rolled_back", "refused")
    store.notes.record(made.id, "health", "the judge prefers an empty answer")
    assert store.history.detail("trial", 1)["notes"] == {"health": "the judge prefers an empty answer"}
    assert store.experiments.rounds("trial")[0]["notes"] == {"health": "the judge prefers an empty answer"}
