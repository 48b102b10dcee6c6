"""A budget: the run stops with a message, the round stays open, a higher budget resumes it and pays nothing twice."""

from collections import Counter

from cyclealign.store import Store


def test_a_run_stops_at_its_budget_and_goes_on_when_it_is_raised(bench):
    """Prevents a bill over the limit, a round that is trained on what happened to be judged, and calls paid twice.

    Also a prompt that no provider's cache can serve: what all calls of one kind share must be one prefix, to the byte.
    """
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
        assert store.calls.spending("bench").calls == sum(bench.judge.asked.values())
    assert_one_prefix_for_each_kind_of_call(bench.judge.bodies)


def assert_one_prefix_for_each_kind_of_call(bodies):
    assert all([message["role"] for message in body["messages"]] == ["system", "user"] for body in bodies)
    systems = Counter(body["messages"][0]["content"] for body in bodies)
    # Ranking, duels, and the judge's accuracy without and with demonstrations.
    assert len(systems) <= 4
    assert len(bodies) > 4 * len(systems)
    assert min(map(len, systems)) > max(len(body["messages"][1]["content"]) for body in bodies)
