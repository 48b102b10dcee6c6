"""Rounds of earlier releases that the simulated judge ranked under another model's name are corrected, with a note."""

import json

import pytest

from cyclealign.store import Store
from cyclealign.store.migrate import downgrade

BEFORE = "0007"


def calls(store):
    query = "SELECT purpose, model, returned_model FROM judge_call ORDER BY id"
    with store.engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


@pytest.mark.parametrize("base_url", [None, "http://127.0.0.1:8000/v1"])
def test_labels_of_the_simulated_judge_carry_its_name(tmp_path, base_url):
    """Prevents a history that shows the demo's labels as those of gpt-4o-mini; a judge at an address keeps its name."""
    url = f"sqlite:///{tmp_path / 'old.db'}"
    with Store.open(url) as store:
        write_round(store, {"kind": "simulated", "model": "gpt-4o-mini", "base_url": base_url})
        downgrade(store.engine, BEFORE)
    with Store.open(url) as store:
        (row,) = store.experiments.rounds("old")
        ranked, rejudged = calls(store)
    assert rejudged == ("rejudge", "gpt-4o-mini", "gpt-4o-mini")
    if base_url:
        assert (ranked[1], row["notes"]) == ("gpt-4o-mini", {})
    else:
        assert ranked == ("rank", "simulated-judge", "simulated-judge")
        assert "under the name 'gpt-4o-mini'" in row["notes"]["judge"]


def write_round(store, judge):
    """Write a round with one ranking call and one rejudgement, both by the model of the settings."""
    at = "2026-11-01 10:00:00"
    call = (
        "INSERT INTO judge_call (id, experiment_id, round_id, purpose, subject_id, key, model, template_hash, "
        "messages, shown, parameters, status, reply, returned_model, prompt_tokens, cached_prompt_tokens, "
        "completion_tokens, cost_usd, seconds, attempts, asked_at) VALUES (?, 1, 1, ?, 'p', ?, 'gpt-4o-mini', 't', "
        "'[]', '[]', '{}', 'answered', '{}', 'gpt-4o-mini', 1, 0, 1, 0.0, 0.1, 1, ?)"
    )
    with store.engine.execution_options(writes=True).begin() as connection:
        run = connection.exec_driver_sql
        run("INSERT INTO template VALUES ('t', 'rank', '', ?)", (at,))
        run("INSERT INTO experiment (id, name, seed, created_at) VALUES (1, 'old', 0, ?)", (at,))
        run(
            "INSERT INTO round (id, experiment_id, number, status, verdict, owner, lease_until, seed, settings, "
            "base_model, opened_at, closed_at) VALUES (1, 1, 1, 'closed', 'accepted', 'me', ?, 0, ?, 'm', ?, ?)",
            (at, json.dumps({"judge": judge}), at, at),
        )
        run(call, (1, "rank", "k1", at))
        run(call, (2, "rejudge", "k2", at))
