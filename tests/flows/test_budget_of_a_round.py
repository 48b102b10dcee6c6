"""A budget in a run: it stops with a message, the round stays open, and raising it goes on without paying twice."""

from cyclealign.store import Store


def test_a_run_stops_at_its_budget_and_goes_on_when_it_is_raised(bench):
    """Prevents a bill over the limit, a round that is trained on what happened to be judged, and calls paid twice."""
    bench.set("budget", calls=5)
    code, output = bench.run()
    assert code == 1
    assert "BudgetReached" in output
    assert "5 calls" in output
    assert sum(bench.judge.asked.values()) == 5
    assert [row["verdict"] for row in bench.rounds()] == [None]
    bench.set("budget", calls=500)
    code, output = bench.run()
    assert code == 0, output
    assert max(bench.judge.answered.values()) == 1
    with Store.open() as store:
        assert store.spent("bench").calls == sum(bench.judge.asked.values())


def test_a_budget_of_each_round_begins_anew(bench):
    bench.set("budget", of="round", calls=60)
    bench.set("acceptance", least_win_rate=0.0)
    code, output = bench.run("--rounds", "2")
    assert code == 0, output
    assert len(bench.rounds()) == 2


def test_what_all_calls_of_a_round_share_comes_first(bench):
    """Prevents a prompt that a provider's cache cannot serve: the fixed part is one prefix, to the byte."""
    bench.run()
    systems: dict[str, int] = {}
    for body in bench.judge.bodies:
        assert [message["role"] for message in body["messages"]] == ["system", "user"]
        systems[body["messages"][0]["content"]] = systems.get(body["messages"][0]["content"], 0) + 1
    # Ranking, duels, and the judge's accuracy without and with demonstrations: each of these has one prefix.
    assert len(systems) <= 4
    shortest = min(len(system) for system in systems)
    assert shortest > 3 * len(bench.judge.bodies[0]["messages"][1]["content"]) / 2
    assert sum(systems.values()) == len(bench.judge.bodies) > 4 * len(systems)


def test_replies_are_shared_between_experiments_where_that_is_wanted(bench):
    """Prevents the judge's accuracy on the same lists from being paid for by each experiment."""
    bench.set("judge", share_replies=True)
    bench.run()
    asked = sum(bench.judge.asked.values())
    code, output = bench.run("--experiment", "other")
    assert code == 0, output
    assert max(bench.judge.asked.values()) == 1
    with Store.open() as store:
        other = store.spent("other")
        answered = len(store.answered_keys("other"))
    assert other.calls == sum(bench.judge.asked.values()) - asked < answered
