"""The view ``round_summary`` follows the table of metrics, and gets the columns of later versions."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from cyclealign.evaluation import metric_table
from cyclealign.evaluation.metric_table import RoundMetric
from cyclealign.records import CallOutcome, Flag, Metric
from cyclealign.store import Store, round_summary
from cyclealign.store.database import connect, parse_url
from cyclealign.store.migrate import downgrade, upgrade
from tests.support.store_values import TEMPLATE, adapter_for, answers, call, opened, prompt, ranked, reply

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


def at_revision(url: str, revision: str) -> None:
    engine = connect(parse_url(url))
    upgrade(engine, revision)
    engine.dispose()


def test_an_existing_view_gets_its_columns_behind_the_first_ones(empty_database: str) -> None:
    """Prevents a query by position, or a spreadsheet, from reading another column after an upgrade."""
    at_revision(empty_database, "0007")
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


def test_agreement_stands_beside_its_chance(empty_database: str) -> None:
    """Prevents a tau of 0.4 from being compared with the chance level of another measure."""
    with Store.open(empty_database) as store:
        made = opened(store)
        store.metrics.record(made.id, [Metric("agreement_lcs", 0.75, 0.7, 0.8), Metric("agreement_chance", 0.5)])
        (row,) = store.history.summaries()
    found = columns(empty_database)
    assert found.index("agreement_chance") == found.index("agreement_lcs") + 1
    assert row["agreement_lcs_above_chance"] == 0.25
    assert {*found} >= {*FIRST}


def test_a_later_column_appears_without_a_migration(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a new column from existing in new databases only, or from moving the columns of an existing one."""
    Store.open(empty_database).close()
    before = columns(empty_database)
    later = {**round_summary.LATER_COLUMNS, "owner": {"sqlite": "round.owner", "postgresql": "round.owner"}}
    monkeypatch.setattr(round_summary, "LATER_COLUMNS", later)
    with Store.open(empty_database) as store:
        opened(store, owner="somebody")
        (row,) = store.history.summaries()
    assert row["owner"] == "somebody"
    assert columns(empty_database) == [*before, "owner"]


def test_later_columns_count_prompts_answers_and_calls(empty_database: str) -> None:
    """Prevents counts that multiply one another, or that mix training and held-out prompts."""
    with Store.open(empty_database) as store:
        made = opened(store)
        first, held_out = answers(made, prompt(0)), answers(made, prompt(8), 2)
        store.candidates.add(made.id, [*first, *held_out])
        store.candidates.add_flags([Flag(first[0].id, "injection", "rank me"), Flag(first[0].id, "label", "A")])
        store.rankings.add(made.id, [ranked(first, "policy"), ranked(first, "judge")])
        store.rankings.mark_unjudged(made.id, prompt(1).id, "no verdict")
        lost = CallOutcome(call(1), replace(reply(0.5), estimated_tokens=110, estimated_usd=0.5))
        store.calls.record(made.id, [CallOutcome(call(0), reply()), lost])
        store.notes.record(made.id, "settings", "changed: a -> b")
        store.notes.record(made.id, "health", "prefers an empty answer")
        store.metrics.record(made.id, [Metric("win_rate", 0.5, 0.4, 0.6, 23)])
        store.adapters.add(made.id, adapter_for(made), "a-model")
        (row,) = store.history.summaries()
    counts = ("prompts", "prompts_judged", "prompts_unjudged", "prompts_set_aside", "held_out_prompts")
    assert [row[name] for name in counts] == [4, 1, 1, 0, 2]
    assert [row[name] for name in ("answers", "held_out_answers", "win_rate_prompts")] == [3, 2, 23]
    assert (row["round"], row["template_hash"], row["estimated_usd"]) == (1, TEMPLATE.hash, 0.5)
    assert (row["adapter_id"], row["adapter_hash"], row["parent_adapter_id"]) == ("adapter-trial-1", "hash", None)
    assert row["notes"] == "health: prefers an empty answer\nsettings: changed: a -> b"


def test_the_judge_of_a_round_is_that_of_its_settings(empty_database: str) -> None:
    """Prevents a comparison of rounds that were ranked by different models from looking like progress."""
    with Store.open(empty_database) as store:
        made = opened(store)
        with store.engine.execution_options(writes=True).begin() as connection:
            connection.execute(
                sa.text("UPDATE round SET settings = :settings WHERE id = :id"),
                {"settings": '{"judge": {"model": "a-judge"}}', "id": made.id},
            )
        opened_rows = store.history.summaries()
    assert [row["judge_model"] for row in opened_rows] == ["a-judge"]


def test_a_database_with_later_columns_goes_back_to_an_older_revision(empty_database: str) -> None:
    """Prevents a view from holding on to tables and columns that an older version removes."""
    Store.open(empty_database).close()
    engine = connect(parse_url(empty_database))
    downgrade(engine, "0005")
    engine.dispose()
    assert columns(empty_database) == FIRST
