"""The view ``round_summary`` follows the table of metrics."""

import pytest
import sqlalchemy as sa

from cyclealign.evaluation import metric_table
from cyclealign.evaluation.metric_table import RoundMetric
from cyclealign.records import Metric
from cyclealign.store import Store
from cyclealign.store.database import connect, parse_url
from tests.support.store_values import opened

# Columns up to release 0.1.0, in their order.
FIRST = [
    *("experiment", "number", "status", "verdict", "reason", "agreement_tau", "agreement_chance"),
    *("judge_accuracy", "judge_accuracy_low", "judge_accuracy_high", "win_rate", "win_rate_low", "win_rate_high"),
    *("gold_quality", "gold_quality_low", "gold_quality_high", "judge_calls", "failed_judge_calls", "judge_tokens"),
    *("cost_usd", "seconds", "demonstrations_promoted", "prompts_set_aside", "adapter_path", "base_model"),
    *("opened_at", "closed_at"),
]


def columns(url: str) -> list[str]:
    engine = connect(parse_url(url))
    with engine.connect() as connection:
        found = [*connection.exec_driver_sql("SELECT * FROM round_summary LIMIT 0").keys()]
    engine.dispose()
    return found


def with_metrics(monkeypatch: pytest.MonkeyPatch, *added: RoundMetric) -> None:
    monkeypatch.setattr(metric_table, "ROUND_METRICS", [*added, *metric_table.ROUND_METRICS])


def test_every_stored_metric_has_columns_behind_the_first_ones(empty_database: str) -> None:
    """Prevents a query by position, or a spreadsheet, from reading another column after an upgrade."""
    Store.open(empty_database).close()
    found = columns(empty_database)
    assert found[: len(FIRST)] == FIRST
    assert {"kl_from_base", "kl_from_base_low", "agreement_tau_high", "health_junk", "training_loss"} <= {*found}
    assert not {"training_loss_low", "judge_wins_at_", "judge_against_people"} & {*found}


def test_a_new_metric_appears_without_a_migration(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a metric that is stored with every round from being invisible to queries."""
    with Store.open(empty_database) as store:
        made = opened(store)
    before = columns(empty_database)
    with_metrics(monkeypatch, RoundMetric("politeness", "politeness", "A new metric."))
    with Store.open(empty_database) as store:
        store.metrics.record(made.id, [Metric("politeness", 0.75, 0.5, 1.0)])
        (row,) = store.history.summaries()
    assert (row["politeness"], row["politeness_low"], row["politeness_high"]) == (0.75, 0.5, 1.0)
    assert columns(empty_database) == [*before, "politeness", "politeness_low", "politeness_high"]


def test_columns_of_a_newer_version_stay(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents an older version that opens the same database from taking columns away."""
    with monkeypatch.context() as newer:
        with_metrics(newer, RoundMetric("politeness", "politeness", "A new metric."))
        Store.open(empty_database).close()
    with_metrics(monkeypatch, RoundMetric("brevity", "brevity", "Another one.", interval=False))
    Store.open(empty_database).close()
    assert columns(empty_database)[-1] == "brevity"
    assert "politeness_low" in columns(empty_database)


def test_a_view_of_a_user_outlives_a_new_metric(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a database that somebody built reports upon from not opening any more."""
    Store.open(empty_database).close()
    engine = connect(parse_url(empty_database)).execution_options(writes=True)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE VIEW mine AS SELECT number, win_rate FROM round_summary"))
    with_metrics(monkeypatch, RoundMetric("politeness", "politeness", "A new metric."))
    with Store.open(empty_database) as store:
        opened(store)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT number FROM mine")).scalars().all() == [1]
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(sa.text("DROP VIEW mine"))
    engine.dispose()
