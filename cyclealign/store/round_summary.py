"""The database view ``round_summary``: one row per round with its verdict, judge, counts, metrics and cost.

Its columns are the first ones, the metrics of the table of metrics, and the `LATER_COLUMNS`. The view gets those that
it lacks when a database is opened, without a migration. In an existing database columns are only ever appended, so that
queries, and views that users have built on it, keep working. docs/database.md has the meaning of each.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection

from cyclealign.evaluation.metric_table import view_columns


def missing_columns(connection: Connection) -> list[str]:
    """Return the columns that the view lacks: those that are newer than it."""
    present = set(_columns(connection))
    return [column for column in (*view_columns(), *LATER_COLUMNS) if column not in present]


def append_columns(connection: Connection, columns: Iterable[str]) -> None:
    """Make the view again with these columns after those that it has.

    A column that this version does not know stays, as the metric of a newer version.
    """
    text = _select(connection, [*_columns(connection), *columns], _all_columns())
    if connection.dialect.name == "sqlite":
        _replace(connection, text)
    else:  # PostgreSQL could not drop a view on which a user has built another
        connection.exec_driver_sql(f"CREATE OR REPLACE VIEW round_summary AS {text}")


def arrange_columns(connection: Connection) -> None:
    """Make the view of a new database, on which nothing is built yet, with each figure beside its chance."""
    first = list(_FIRST_COLUMNS)
    first.insert(first.index("agreement_chance"), "agreement_lcs")
    rest = [column for column in (*view_columns(), *LATER_COLUMNS) if column not in first]
    _replace(connection, _select(connection, [*first, *rest], _all_columns()))


def remove_later_columns(connection: Connection) -> None:
    """Make the view with its first columns alone, from rows: older revisions do not have the tables of others."""
    _replace(connection, _select(connection, _FIRST_COLUMNS, _FIRST_COLUMNS))


def _replace(connection: Connection, text: str) -> None:
    connection.exec_driver_sql("DROP VIEW round_summary")
    connection.exec_driver_sql(f"CREATE VIEW round_summary AS {text}")


def _columns(connection: Connection) -> list[str]:
    return list(connection.exec_driver_sql("SELECT * FROM round_summary LIMIT 0").keys())


def _select(connection: Connection, columns: Iterable[str], known: Mapping[str, str | Mapping[str, str]]) -> str:
    dialect = connection.dialect.name
    lines = ",\n    ".join(f"{_in_dialect(known.get(name) or _metric(name), dialect)} AS {name}" for name in columns)
    return (
        f"SELECT\n    {lines}\nFROM round\n"
        "JOIN experiment ON experiment.id = round.experiment_id\n"
        "LEFT JOIN adapter ON adapter.round_id = round.id"
    )


def _in_dialect(expression: str | Mapping[str, str], dialect: str) -> str:
    return expression if isinstance(expression, str) else expression[dialect]


def _metric(column: str) -> str:
    """Return the SQL of a metric's column. NULL: not measured, or without an interval."""
    name, part = column, "value"
    for bound in ("low", "high"):
        if column.endswith(f"_{bound}"):
            name, part = column.removesuffix(f"_{bound}"), bound
    return f"(SELECT metric.{part} FROM metric WHERE metric.round_id = round.id AND metric.name = '{name}')"  # noqa: S608 - a name that RoundMetric checked


def _prompts(purpose: str) -> str:
    return f"FROM round_prompt WHERE round_prompt.round_id = round.id AND round_prompt.purpose = '{purpose}'"


def _candidates(purpose: str) -> str:
    # From the prompts, whose index finds the answers of each: their rows, which are large, are not read.
    return (
        "FROM round_prompt JOIN candidate ON candidate.round_id = round_prompt.round_id"
        " AND candidate.prompt_id = round_prompt.prompt_id"
        f" WHERE round_prompt.round_id = round.id AND round_prompt.purpose = '{purpose}'"
    )


# Calls to put a round to another judge afterwards are not part of what it took; judge_spending counts them.
_CALLS = "FROM judge_call WHERE judge_call.round_id = round.id AND judge_call.purpose <> 'rejudge'"
# The columns of revision 0006, in its order; only SQL that SQLite and PostgreSQL share.
_FIRST_COLUMNS: dict[str, str] = {
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
# Columns of later versions, in the order in which they came: append new ones at the end, and to docs/database.md. An
# expression that the two databases do not share is a mapping from the dialect. A column never changes its type.
LATER_COLUMNS: dict[str, str | Mapping[str, str]] = {
    "round": "round.number",  # as the other views name it
    "agreement_lcs_above_chance": f"({_metric('agreement_lcs')} - {_metric('agreement_chance')})",
    "judge_model": {
        "sqlite": "json_extract(round.settings, '$.judge.model')",
        "postgresql": "round.settings -> 'judge' ->> 'model'",
    },
    "template_hash": "(SELECT round_template.template_hash FROM round_template"
    " WHERE round_template.round_id = round.id AND round_template.name = 'rank')",
    "prompts": f"(SELECT count(*) {_prompts('train')})",
    "prompts_judged": "(SELECT count(*) FROM ranking"
    " WHERE ranking.round_id = round.id AND ranking.ranked_by = 'judge')",
    "prompts_unjudged": "(SELECT count(*) FROM unjudged_prompt WHERE unjudged_prompt.round_id = round.id)",
    "held_out_prompts": f"(SELECT count(*) {_prompts('held_out')})",
    "answers": f"(SELECT count(*) {_candidates('train')})",
    "held_out_answers": f"(SELECT count(*) {_candidates('held_out')})",
    "win_rate_prompts": "(SELECT metric.count FROM metric"
    " WHERE metric.round_id = round.id AND metric.name = 'win_rate')",
    "estimated_usd": f"(SELECT coalesce(sum(estimated_usd), 0.0) {_CALLS} AND judge_call.estimated_tokens > 0)",
    "adapter_id": "adapter.id",
    "adapter_hash": "adapter.content_hash",
    "parent_adapter_id": "round.parent_adapter_id",
    "notes": {
        "sqlite": "(SELECT group_concat(line, char(10)) FROM (SELECT about || ': ' || words AS line FROM round_note"
        " WHERE round_note.round_id = round.id ORDER BY about))",
        "postgresql": "(SELECT string_agg(about || ': ' || words, chr(10) ORDER BY about) FROM round_note"
        " WHERE round_note.round_id = round.id)",
    },
    "kept": "round.kept",
    "policy_score_name": "(SELECT COALESCE(ranking.score, 'mean_logprob') FROM ranking"
    " WHERE ranking.round_id = round.id AND ranking.ranked_by = 'policy' LIMIT 1)",
}


def _all_columns() -> dict[str, str | Mapping[str, str]]:
    return {**_FIRST_COLUMNS, **LATER_COLUMNS, **_KEPT_COLUMNS}


def _kept(column: str) -> str:
    """Return the SQL of a number that is kept for closed rounds, and counted for open ones."""
    rows = {**_FIRST_COLUMNS, **LATER_COLUMNS}[column]
    kept = f"SELECT round_total.{column} FROM round_total WHERE round_total.round_id = round.id"  # noqa: S608 - our names
    return f"coalesce(({kept}), {rows})"


def _kept_sum(column: str, total: str) -> str:
    """Return the SQL of a sum over calls that is kept for closed rounds.

    The type is that of the sum over rows: a view's columns never change theirs.
    """
    rows = {**_FIRST_COLUMNS, **LATER_COLUMNS}[column]
    kind = "DOUBLE PRECISION" if column.endswith("usd") else "BIGINT"
    kept = f"SELECT CAST(coalesce(sum({total}), 0) AS {kind}) FROM call_total"  # noqa: S608 - our names
    mine = "call_total.round_id = round.id AND call_total.purpose <> 'rejudge'"
    return f"CASE WHEN round.status = 'closed' THEN ({kept} WHERE {mine}) ELSE {rows} END"


_KEPT_COLUMNS = {
    **{
        column: _kept(column)
        for column in (
            *("prompts", "held_out_prompts", "prompts_judged", "prompts_unjudged", "prompts_set_aside", "answers"),
            "held_out_answers",
        )
    },
    "judge_calls": _kept_sum("judge_calls", "answered_calls"),
    "failed_judge_calls": _kept_sum("failed_judge_calls", "failed_calls"),
    "judge_tokens": _kept_sum("judge_tokens", "prompt_tokens + completion_tokens"),
    "cost_usd": _kept_sum("cost_usd", "cost_usd"),
    "estimated_usd": _kept_sum("estimated_usd", "estimated_usd"),
}
