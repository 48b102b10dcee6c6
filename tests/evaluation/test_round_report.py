"""Tables and plots of rounds, and the table of metrics behind them."""

import pytest

from cyclealign.evaluation import metric_table
from cyclealign.evaluation.intervals import with_interval
from cyclealign.evaluation.metric_table import RoundMetric
from cyclealign.evaluation.round_report import measured_panels, plot_rounds, round_table
from cyclealign.records import Metric

ROUND = {
    "number": 1,
    "verdict": "rolled_back",
    "judge_calls": 12,
    "judge_tokens": 3_400,
    "cost_usd": 0.01234,
    "seconds": 5.0,
    "metrics": {"win_rate": Metric("win_rate", 0.4, 0.3, 0.5, 10), "agreement_tau": Metric("agreement_tau", 0.1)},
}
OPEN = {**ROUND, "number": 2, "verdict": None, "judge_calls": None, "cost_usd": None, "seconds": None, "metrics": {}}


def test_a_table_shows_values_with_intervals_and_a_dash_for_what_was_not_measured():
    """Prevents a number that was never measured from being shown as zero."""
    first, second = round_table([ROUND, OPEN])
    assert (first["win rate"], first["agreement (tau)"], first["verdict"]) == (
        "0.40 [0.30, 0.50]",
        "0.10",
        "rolled back",
    )
    assert (second["win rate"], second["verdict"]) == ("n/a", "open")


@pytest.mark.filterwarnings("error")
def test_a_round_that_was_refused_before_it_measured_anything_can_be_plotted():
    """Prevents the plot from failing, or complaining in the user's terminal, just when a round was refused."""
    refused = {**OPEN, "verdict": "rolled_back", "metrics": {"health_junk": Metric("health_junk", 0.1, 0.0, 0.3, 12)}}
    assert b"<svg" in plot_rounds([refused], "refused")


def test_figures_of_one_cell_keep_their_places_where_one_is_missing():
    """Prevents the junk control's figure from being read as that of the injections."""
    metrics = {"health_junk": Metric("health_junk", 0.9), "judge_length_bias": Metric("judge_length_bias", -0.25)}
    (row,) = round_table([{**ROUND, "metrics": metrics}])
    assert row["junk / injection"] == "0.90 / n/a"
    assert (row["repeat / reverse"], row["first / length"]) == ("n/a", "n/a / -0.25")


def test_a_plot_has_no_panel_without_a_figure():
    """Prevents empty axes beside the one metric that was measured."""
    assert [*measured_panels([ROUND, OPEN])] == ["Policy and judge", "Policy"]
    assert measured_panels([OPEN]) == {}
    assert b"nothing was measured yet" not in plot_rounds([ROUND], "x")


def test_a_plot_is_the_same_svg_for_the_same_rounds():
    """Prevents artifacts that differ at every look, and a plot that fails on a round without metrics."""
    drawn = plot_rounds([ROUND, OPEN], "x < y")
    assert drawn == plot_rounds([ROUND, OPEN], "x < y")
    assert b"<svg" in drawn
    assert b"x < y" not in drawn


def test_the_table_keeps_its_columns():
    """Prevents a metric from vanishing from the history, or from changing places, by an edit of its table."""
    (row,) = round_table([ROUND])
    assert [*row] == [
        *("round", "verdict", "agreement (tau)", "LCS / chance", "judge accuracy"),
        *("policy / agreed accuracy", "gain by next dynamic"),
        *("junk / injection", "repeat / reverse", "first / length", "win rate", "e-value for / against"),
        "gold quality",
        *("judge calls", "tokens", "USD", "seconds"),
    ]


def test_a_new_entry_of_the_table_of_metrics_is_shown(monkeypatch):
    """Prevents a new metric from being stored and shown nowhere."""
    added = RoundMetric("politeness", "politeness", "A new metric.", panel="Policy", column="politeness", unit="points")
    monkeypatch.setattr(metric_table, "ROUND_METRICS", [*metric_table.ROUND_METRICS, added])
    polite = {**ROUND, "metrics": {"politeness": Metric("politeness", 0.75)}}
    assert round_table([polite])[0]["politeness"] == "0.75"
    assert plot_rounds([polite], "x") != plot_rounds([{**ROUND, "metrics": {}}], "x")
    assert with_interval("politeness", [1.0]).unit == "points"


def test_a_name_that_the_view_cannot_hold_is_refused():
    """Prevents a column of one metric from being read as the bound of another."""
    for name in ("win rate", "x; drop", "win_rate_low"):
        with pytest.raises(ValueError, match="a metric's name"):
            RoundMetric(name, "", "")


def test_names_are_told_apart():
    """Prevents two metrics of one name, of which the view would hold one."""
    names = [metric.name for metric in metric_table.ROUND_METRICS]
    assert len(set(names)) == len(names)
    assert metric_table.find_metric("judge_wins_at_12").name == "judge_wins_at_"
    assert metric_table.find_metric("kl_from_base").unit == "nats/token"
    assert metric_table.find_metric("flips") is None


def test_an_estimated_part_of_the_cost_is_shown_as_such():
    """Prevents a price that nobody confirmed from being read as the provider's bill."""
    (row,) = round_table([{**ROUND, "estimated_usd": 0.005}])
    assert row["USD"] == "0.0123 (0.0050 estimated)"


def test_the_ticks_of_rounds_are_whole_numbers_also_for_a_single_round():
    """Prevents a plot with rounds 0.5, 0.6 and so on."""
    from cyclealign.evaluation.plots import whole_numbers

    for low, high in ((0.945, 1.055), (0.9, 3.1), (0.5, 40.5)):
        assert all(float(tick).is_integer() for tick in whole_numbers().tick_values(low, high))
