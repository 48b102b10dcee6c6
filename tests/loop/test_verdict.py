"""The verdict on a round, by the mean or by evidence, and its reason in words."""

import pytest

from cyclealign.config.evaluation import AcceptanceSettings
from cyclealign.loop.verdict import verdict_of
from cyclealign.records import Metric


def metrics(win_rate=0.58, kl=0.1, win=1.0, loss=1.0):
    return {
        "win_rate": Metric("win_rate", win_rate, 0.51, 0.66, 24),
        "duels_tied": Metric("duels_tied", 0.3, count=24),
        "kl_from_base": Metric("kl_from_base", kl),
        "win_e_value": Metric("win_e_value", win, count=24),
        "loss_e_value": Metric("loss_e_value", loss, count=24),
    }


def verdict(measured, level=None, **settings):
    chosen = AcceptanceSettings(**settings)
    decision = verdict_of(chosen, measured, level or chosen.alpha)
    assert decision.kept == (decision.verdict == "accepted") or decision.verdict == "undecided"
    return decision.verdict, decision.reason


@pytest.mark.parametrize(
    ("win_rate", "kl", "expected", "reason"),
    [
        (0.5, 0.1, "accepted", "at least 0.50"),
        (0.49, 0.1, "rolled_back", "below 0.50"),
        (0.9, 0.6, "rolled_back", "KL from the base 0.60"),
    ],
)
def test_the_mean_rule_says_why(win_rate, kl, expected, reason):
    """Prevents a policy that drifted far from being accepted because the judge likes it."""
    found, why = verdict(metrics(win_rate, kl), max_kl=0.5)
    assert found == expected
    assert reason in why


def test_the_reason_has_prompts_ties_and_evidence():
    """Prevents a verdict from looking certain that rests on a few decided duels."""
    assert verdict(metrics(win=2.345))[1] == (
        "win rate 0.58 [0.51, 0.66] on 24 prompts, 30 % ties, e-value 2.35: at least 0.50"
    )


@pytest.mark.parametrize(
    ("win", "loss", "settings", "expected", "reason"),
    [
        (20.0, 0.0, {}, "accepted", "e-value 20 reaches 1 / alpha = 20"),
        (19.9, 0.0, {}, "undecided", "undecided, e-value 19.9 is below 1 / alpha = 20; counts as rolled back"),
        (19.9, 0.0, {"undecided": "train_on"}, "undecided", "the next round trains on, without its demonstrations"),
        (0.0, 31.0, {"undecided": "train_on"}, "rolled_back", "the parent is better, e-value 31 reaches"),
        (50.0, 0.0, {"alpha": 0.01}, "undecided", "below 1 / alpha = 100"),
        (50.0, 0.0, {"level": 0.0025, "alpha_rounds": 20}, "undecided", "below 400 (alpha 0.05 over 20 rounds)"),
        (0.0, 31.0, {"level": 0.0025, "alpha_rounds": 20}, "rolled_back", "the parent is better"),
    ],
)
def test_the_rule_by_evidence(win, loss, settings, expected, reason):
    """Prevents a round without evidence from being accepted unless the settings say so, and a worse one at any time."""
    found, why = verdict(metrics(win=win, loss=loss), rule="e_value", **settings)
    assert found == expected
    assert reason in why


def test_evidence_does_not_excuse_drift():
    """Prevents acceptance.max_kl from being ignored with the other rule."""
    assert verdict(metrics(win=1e6, kl=0.6), rule="e_value", max_kl=0.5)[0] == "rolled_back"


def test_the_minimum_win_rate_belongs_to_the_mean_rule():
    """Prevents two rules at once, of which nobody can say what they control."""
    assert verdict(metrics(0.58, win=30.0), rule="e_value", min_win_rate=0.9)[0] == "accepted"


@pytest.mark.parametrize(
    ("undecided", "kl", "expected"),
    [
        ("roll_back", 0.1, ("undecided", False)),
        ("train_on", 0.1, ("undecided", True)),
        ("train_on", 0.6, ("rolled_back", False)),
    ],
)
def test_an_undecided_round_is_kept_by_setting_and_within_the_limits(undecided, kl, expected):
    """Prevents training from going on from a policy that drifted too far, because nobody could decide about it."""
    settings = AcceptanceSettings(rule="e_value", undecided=undecided, max_kl=0.5)
    decision = verdict_of(settings, metrics(kl=kl), 0.05)
    assert (decision.verdict, decision.kept) == expected


def test_a_round_whose_answers_grow_beyond_the_limit_is_rolled_back():
    """Prevents a policy that pleases the judge by writing more from being accepted, whatever its evidence."""
    grown = {**metrics(win=1e6), "length_growth": Metric("length_growth", 0.3, 0.2, 0.4, 24)}
    assert verdict(grown, rule="e_value", max_length_growth=0.4)[0] == "accepted"
    found, why = verdict(grown, rule="e_value", max_length_growth=0.25)
    assert (found, why) == ("rolled_back", "answers are 30% longer than the parent's, above 25%")
