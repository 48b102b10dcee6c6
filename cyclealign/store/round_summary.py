"""The database view ``round_summary``: one row per round with its verdict, metrics and cost.

Its columns for metrics follow from the table of metrics. Columns are only ever appended, so that queries, and views
that users have built on it, keep working.
"""

from collections.abc import Iterable

from sqlalchemy import Connection

from cyclealign.evaluation.metric_table import view_columns


def missing_columns(connection: Connection) -> list[str]:
    """Return the metric columns that the view lacks: those of metrics that are newer than it."""
    present = set(_columns(connection))
    return [column for column in view_columns() if column not in present]


def append_columns(connection: Connection, columns: Iterable[str]) -> None:
    """Make the view again with these metric columns after those that it has."""
    # Columns of metrics that this version does not know (a newer one made them) stay, too.
    appended = [*(column for column in _columns(connection) if column not in _FIRST_COLUMNS), *columns]
    text = _select([*_FIRST_COLUMNS.items(), *((column, _metric(column)) for column in appended)])
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("DROP VIEW round_summary")
        connection.exec_driver_sql(f"CREATE VIEW round_summary AS {text}")
    else:  # PostgreSQL could not drop a view on which a user has built another
        connection.exec_driver_sql(f"CREATE OR REPLACE VIEW round_summary AS {text}")


def _columns(connection: Connection) -> list[str]:
    return list(connection.exec_driver_sql("SELECT * FROM round_summary LIMIT 0").keys())


def _select(columns: Iterable[tuple[str, str]]) -> str:
    lines = ",\n    ".join(f"{expression} AS {name}" for name, expression in columns)
    return (
        f"SELECT\n    {lines}\nFROM round\n"
        "JOIN experiment ON experiment.id = round.experiment_id\n"
        "LEFT JOIN adapter ON adapter.round_id = round.id"
    )


def _metric(column: str) -> str:
    """Return the SQL of a metric's column. NULL: not measured, or without an interval."""
    name, part = column, "value"
    for bound in ("low", "high"):
        if column.endswith(f"_{bound}"):
            name, part = column.removesuffix(f"_{bound}"), bound
    return f"(SELECT metric.{part} FROM metric WHERE metric.round_id = round.id AND metric.name = '{name}')"  # noqa: S608 - a name that RoundMetric checked


# Calls to put a round to another judge afterwards are not part of what it took; judge_spending counts them.
_CALLS = "FROM judge_call WHERE judge_call.round_id = round.id AND judge_call.purpose <> 'rejudge'"
# The columns of revision 0006, in its order; only SQL that SQLite and PostgreSQL share.
_FIRST_COLUMNS = {
    "experiment": "experiment.name",
    "number": "round.number",
    "status": "round.status",
    "verdict": "round.verdict",
    "reason": "round.reason",
    **{
        column: _metric(column)
        for column in (
            "agreement_tau",
            "agreement_chance",
            *("judge_accuracy", "judge_accuracy_low", "judge_accuracy_high"),
            *("win_rate", "win_rate_low", "win_rate_high"),
            *("gold_quality", "gold_quality_low", "gold_quality_high"),
        )
    },
    "judge_calls": f"(SELECT count(*) {_CALLS} AND judge_call.status = 'answered')",
    "failed_judge_calls": f"(SELECT count(*) {_CALLS} AND judge_call.status = 'failed')",
    "judge_tokens": f"(SELECT coalesce(sum(prompt_tokens + completion_tokens), 0) {_CALLS})",
    "cost_usd": f"(SELECT coalesce(sum(cost_usd), 0.0) {_CALLS})",
    "seconds": "(SELECT sum(seconds) FROM round_step WHERE round_step.round_id = round.id)",
    "demonstrations_promoted": "(SELECT count(*) FROM demonstration_promotion"
    " WHERE demonstration_promotion.round_id = round.id)",
    "prompts_set_aside": "(SELECT count(*) FROM round_prompt"
    " WHERE round_prompt.round_id = round.id AND set_aside_reason IS NOT NULL)",
    "adapter_path": "adapter.path",
    "base_model": "round.base_model",
    "opened_at": "round.opened_at",
    "closed_at": "round.closed_at",
}
