"""The estimate of a run equals its later calls, and sends nothing."""

import json

import pytest

from cyclealign.store import Store


def foreseen(bench, *options):
    code, output = bench.command("estimate", str(bench.write()), "--json", *options)
    assert code == 0, output
    rows, _ = json.JSONDecoder().raw_decode(output[output.index("[") :])  # remarks follow, on standard error
    return {(row["round"], row["purpose"]): row for row in rows}


def spent(bench):
    with Store.open() as store, store.engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT round, purpose, sum(answered_calls), sum(prompt_tokens + completion_tokens) FROM judge_spending "
            "GROUP BY round, purpose"
        )
        return {(str(number), purpose): (int(calls), int(tokens)) for number, purpose, calls, tokens in found}


def test_the_estimate_is_within_a_tenth_of_what_the_run_then_uses(bench):
    """Prevents a bill that nobody saw coming. Only how many held-out answers will change is a guess."""
    bench.settings["judge"].clear()
    bench.set("judge", kind="simulated", usd_per_million_prompt_tokens=1.0, usd_per_million_completion_tokens=2.0)
    bench.set("demonstrations", dynamic=0)
    bench.set("health", lists=2)
    before = foreseen(bench)
    code, output = bench.run()
    assert code == 0, output
    for key, (calls, tokens) in spent(bench).items():
        if key[1] != "win_rate":
            assert before[key]["calls"] == calls
            assert before[key]["tokens"] == pytest.approx(tokens, rel=0.1)
            assert before[key]["usd"] == pytest.approx(tokens / 1e6, rel=0.15)
    assert {("1", "rank"), ("1", "health")} <= set(before)
    after = foreseen(bench)
    assert ("2", "accuracy") not in after, "the same lists in the same words are asked once per experiment"


@pytest.mark.parametrize("options", [(), ("--sample", "0")])
def test_foretelling_asks_no_judge_and_needs_no_key(bench, monkeypatch, options):
    """Prevents an estimate that is part of the bill."""
    monkeypatch.delenv("TEST_JUDGE_KEY")
    bench.set("judge", usd_per_million_prompt_tokens=1.0)
    total = foreseen(bench, "--rounds", "2", *options)["all", "all"]
    assert sum(bench.judge.asked.values()) == 0
    assert bench.rounds() == []
    assert total["calls"] >= 2 * 4 * 2
    assert total["usd"] == pytest.approx(total["tokens"] / 1e6, rel=0.15)


def test_what_dynamic_demonstrations_would_add_stands_on_a_line_of_its_own(bench):
    """Prevents a bill that grows by a half once they earn their place, and one figure that means either."""
    bench.set("demonstrations", static=2, dynamic=4)
    found = foreseen(bench, "--rounds", "2")
    left_out, shown = (found["all", purpose] for purpose in ("all", "all, if dynamic demonstrations earn their place"))
    assert left_out["calls"] == shown["calls"]
    assert left_out["tokens"] < shown["tokens"]
    bench.set("demonstrations", min_gain=-1)
    always = foreseen(bench, "--rounds", "2")
    assert always["all", "all"]["tokens"] == shown["tokens"]
    assert len([purpose for number, purpose in always if number == "all"]) == 1


def test_a_model_without_a_price_is_no_surprise(bench):
    """Prevents a budget of money that counts nothing."""
    bench.set("budget", usd=1.0)
    code, output = bench.command("estimate", str(bench.write()))
    assert code == 1
    assert "the price of 'local' is unknown" in output


def test_too_few_prompts_are_counted_and_the_rest_is_estimated(bench):
    """Prevents an estimate of ten rounds on prompts for three, and a start that fails in the fourth."""
    with Store.open() as store:
        train = next(size.train for size in store.prompts.sets())
    bench.set("prompts", per_round=train - 1)
    code, output = bench.command("estimate", str(bench.write()), "--rounds", "4", "--sample", "0")
    assert code == 0, output
    assert f"has {train} train prompts, {train} of them unused: enough for 2 rounds (the last one with 1)" in output
    assert "The set suffices for 2 of the 4 rounds asked for" in output
    rows = foreseen(bench, "--rounds", "4", "--sample", "0")
    assert ("3", "rank") not in rows
    assert rows["1", "rank"]["calls"] == (train - 1) * 2
    assert rows["2", "rank"]["calls"] == 2


def test_prompts_that_are_drawn_while_the_test_is_undecided_are_a_line_of_their_own(bench):
    """Prevents a bill for duels that nobody saw coming, and one figure for the least and the most."""
    bench.set("prompts", held_out=4)
    bench.set("acceptance", rule="e_value", max_prompts=12)
    found = foreseen(bench, "--sample", "0")
    most = found["all", "all, if every test needs acceptance.max_prompts"]["calls"]
    assert most > found["all", "all"]["calls"]
    bench.set("acceptance", rule="mean", max_prompts=12)
    assert not any("max_prompts" in purpose for _, purpose in foreseen(bench, "--sample", "0"))
