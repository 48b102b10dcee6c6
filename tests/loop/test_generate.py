"""Answers of a round: identical ones are collapsed and topped up, and each has its provenance."""

import json

from cyclealign.store import Store


def drawn(bench, number=1):
    with Store.open() as store:
        found = store.history.detail("bench", number)
    return [each for each in found["prompts"] if each["purpose"] == "train"]


def test_equal_answers_are_topped_up_with_distinct_ones(bench):
    """Prevents lists that shrink because a policy repeats itself, and lists longer than was asked for."""
    bench.set("policy", max_new_tokens=1, top_p=0.4, top_up=8)
    code, output = bench.run()
    assert code == 0, output
    rows = drawn(bench)
    assert any(len(row["candidates"]) > 4 for row in rows)
    for row in rows:
        text_of = {each["id"]: each["text"] for each in row["candidates"]}
        ranked = [text_of[each] for each in row["rankings"]["judge"]["order"]]
        assert len(set(ranked)) == len(ranked) == 4
        assert [each["position"] for each in row["candidates"]] == list(range(len(row["candidates"])))


def test_topping_up_is_bounded(bench):
    """Prevents a policy that knows two answers only from being asked for ever."""
    bench.set("policy", max_new_tokens=1, top_p=0.05, top_up=1)
    bench.run()
    assert {len(row["candidates"]) for row in drawn(bench)} <= {4, 8}
    assert any(len(row["candidates"]) == 8 for row in drawn(bench))


def test_every_candidate_says_which_weights_made_it_and_how(bench):
    """Prevents answers of which nobody can tell the adapter or the sampling."""
    bench.set("acceptance", min_win_rate=0.0)
    code, output = bench.run(rounds=2)
    assert code == 0, output
    rows = bench.query(
        "SELECT candidate.sampling, adapter.content_hash FROM candidate "
        "LEFT JOIN adapter ON adapter.id = candidate.adapter_id"
    )
    samplings = [(json.loads(sampling), content_hash) for sampling, content_hash in rows]
    assert {content_hash for _, content_hash in samplings} > {None}
    for sampling, content_hash in samplings:
        assert sampling["adapter_hash"] == content_hash
        assert (sampling["temperature"], sampling["max_new_tokens"]) == (1.0, 8)
        assert sampling["engine"].startswith("transformers ")
