"""Rounds put to another judge, and labels that another version of a template made."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.store.connecting import Database
from cyclealign.store.plans import remember_templates
from cyclealign.store.writing import in_parts, insert, now

NOTHING = records.Spending()


class RejudgementMemory(Database):
    """The part of the store that holds what other judges said of a round's lists."""

    def remember_template(self, template: records.Template) -> None:
        """Store the text of a template that no round was opened with, so that calls may name it."""
        with self.writing() as session:
            remember_templates(session, [template])

    def put_rejudgement(self, made: records.Rejudgement) -> None:
        """Record what became of a round under another judge; the same one made again replaces itself."""
        row = _row(made)
        with self.writing() as session:
            statement = insert(session, tables.Rejudgement).values(row)
            changed = {name: value for name, value in row.items() if name != "id"}
            session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changed))

    def paid_for_rejudging(
        self, experiment: str, round_id: int | None = None, keys: Collection[str] | None = None
    ) -> records.Spending:
        """What putting rounds to other judges has cost: all of it, for one round, or for these requests.

        Requests that a round asked for its own labels are not counted.
        """
        call = tables.JudgeCall
        sums = (call.attempts, call.prompt_tokens + call.completion_tokens, call.cost_usd)
        statement = (
            select(*(func.coalesce(func.sum(each), 0) for each in sums))
            .join(tables.Experiment, tables.Experiment.id == call.experiment_id)
            .where(tables.Experiment.name == experiment, call.purpose == "rejudge")
        )
        if round_id is not None:
            statement = statement.where(call.round_id == round_id)
        parts = [statement]
        if keys is not None:
            parts = [statement.where(call.key.in_(part)) for part in in_parts(sorted(keys))]
        with self.reading() as session:
            found = [session.execute(part).one() for part in parts]
        return sum((records.Spending(int(calls), int(tokens), float(usd)) for calls, tokens, usd in found), NOTHING)

    def label_versions(self, name: str, experiment: str | None = None) -> list[records.LabelVersion]:
        """Which version of a template made the judge's rankings of each round; by experiment and round."""
        used, label = tables.RoundTemplate, tables.Ranking
        statement = (
            select(
                *(tables.Experiment.name, tables.Round.number, tables.Round.settings),
                *(used.template_hash, func.count(label.id)),
            )
            .select_from(label)
            .join(tables.Round, tables.Round.id == label.round_id)
            .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
            .join(used, used.round_id == tables.Round.id)
            .where(label.ranked_by == "judge", used.name == name)
            .group_by(tables.Experiment.id, tables.Experiment.name, tables.Round.id, used.template_hash)
            .order_by(tables.Experiment.id, tables.Round.number)
        )
        if experiment is not None:
            statement = statement.where(tables.Experiment.name == experiment)
        with self.reading() as session:
            return [
                records.LabelVersion(of, number, str(settings.get("templates", "prompts")), version, count)
                for of, number, settings, version, count in session.execute(statement)
            ]


def read_rejudgements(session: Session, round_id: int) -> list[dict[str, Any]]:
    """What other judges said of the round, the oldest first, for the history."""
    table = tables.Rejudgement
    found = session.scalars(select(table).where(table.round_id == round_id).order_by(table.made_at, table.id))
    names = [column.name for column in table.__table__.columns if column.name != "round_id"]
    return [{**{name: getattr(row, name) for name in names}, "made_at": row.made_at.isoformat()} for row in found]


def _row(made: records.Rejudgement) -> dict[str, Any]:
    flips, tau = made.flips, made.tau
    return {
        "id": made.id,
        "round_id": made.round_id,
        "model": made.model,
        "template_hash": made.template_hash,
        "demonstrations": made.demonstrations,
        "lists": made.lists,
        "unread": made.unread,
        "pairs": made.pairs,
        "flips": flips.value if flips else None,
        "flips_low": flips.low if flips else None,
        "flips_high": flips.high if flips else None,
        "tau": tau.value,
        "tau_low": tau.low,
        "tau_high": tau.high,
        "calls": made.cost.calls,
        "tokens": made.cost.tokens,
        "cost_usd": made.cost.usd,
        "made_at": now(),
    }
