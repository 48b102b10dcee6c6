"""Promotion: only what agrees beyond chance becomes a demonstration, and the round says why."""

from itertools import combinations

from cyclealign.config import ExperimentConfig, settings_without_effect
from cyclealign.loop.promote import beyond_chance
from cyclealign.ranking.agreement import chance_of_lcs, kendall_tau, longest_common_subsequence
from cyclealign.records import Agreement, Preference, Ranking


def round_of(lists):
    """Agreements, policy and judge by prompt id, of (policy's, judge's) orders."""
    agreed, policy, judge = [], {}, {}
    for number, (own, others) in enumerate(lists):
        name = f"p{number}"
        common = longest_common_subsequence(own, others)
        tau, chance = kendall_tau(own, others), chance_of_lcs(len(own), len(common))
        agreed.append(Agreement(name, common, len(common), len(own), chance, tau))
        policy[name] = Ranking(name, "policy", tuple(own))
        pairs = tuple(Preference(better, worse, 1.0, 2) for better, worse in combinations(others, 2))
        judge[name] = Ranking(name, "judge", tuple(others), 1.0, pairs)
    return agreed, policy, judge


def test_lists_that_agree_beyond_chance_are_promoted_with_their_p():
    """Prevents the p of the test from being lost: it orders what is shown, and what is retired."""
    found = beyond_chance(*round_of([("abcde", "abcde")] * 3 + [("bdace", "abcde"), ("decab", "abcde")]), 0.2)
    assert [row.prompt_id for row in found.promotable] == ["p0", "p1", "p2"]
    assert found.promotable[0].chance == 1 / 120
    assert "3 of them pass" in found.words


def test_one_lucky_list_in_a_round_that_does_not_agree_is_not_promoted():
    """Prevents the luckiest of many unrelated lists from becoming a demonstration."""
    unrelated = [("abcde", "edcba"), ("abcde", "cbaed"), ("abcde", "decab")] * 4
    found = beyond_chance(*round_of([("abcde", "abcde"), *unrelated]), 0.2)
    assert found.promotable == []
    assert "not more than chance" in found.words


def test_lists_of_three_never_pass_alone():
    """Prevents a round of short lists from ending without demonstrations and without a reason."""
    found = beyond_chance(*round_of([("abc", "abc")] * 8), 0.1)
    assert found.promotable == []
    assert "never pass alone (p >= 0.17)" in found.words


def test_a_start_with_lists_that_are_too_short_says_so():
    """Prevents dynamic demonstrations from being asked for where none can ever be promoted."""
    short = ExperimentConfig(policy={"answers": 3}, demonstrations={"dynamic": 4, "max_false": 0.1})
    assert any("demonstrations.dynamic has no effect" in line for line in settings_without_effect(short))
    long = ExperimentConfig(policy={"answers": 4}, demonstrations={"dynamic": 4})
    assert settings_without_effect(long) == []


def test_a_round_notes_why_it_promotes_nothing(bench):
    """Prevents four lists of a policy that knows nothing from teaching the judge, in silence."""
    bench.set("policy", answers=4)
    bench.set("demonstrations", promotion="fdr")
    bench.set("acceptance", min_win_rate=0.0)
    code, output = bench.run()
    assert code == 0, output
    assert bench.rounds()[0]["demonstrations_promoted"] == 0
    assert "not more than chance" in bench.rounds()[0]["notes"]["promotion"]
    assert "promotion: agreement over 4 lists" in output
