"""Changes of open rounds: the stages that have rows already, and the log of what was changed."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.store.plans import write_pool, write_templates
from cyclealign.store.repository import Repository
from cyclealign.store.statements import insert_all, now, require_owner

RANKING_PURPOSES = ("health", "rank")


class ChangeStore(Repository):
    """Changes of settings, templates and demonstrations in open rounds."""

    def begun(self, round_id: int) -> frozenset[str]:
        """Return the stages that have stored rows in the round: ``generate``, ``judge``, ``agree``, ``train``,
        ``evaluate``.

        Judging has begun with the first answered request of a control or a ranking, whichever round paid for it: the
        first metric of a round is that of its controls.
        """
        with self._database.reading() as session:
            return frozenset(stage for stage, query in _has_begun(round_id).items() if session.scalar(select(query)))

    def record(
        self,
        round_id: int,
        owner: str,
        changes: Sequence[records.SettingChange],
        settings: dict[str, object],
        templates: Sequence[records.Template],
        demonstrations: Sequence[records.Demonstration],
    ) -> None:
        """Put settings, template versions and pool of demonstrations of an open round in place, and log the changes.

        Raises:
            LeaseLost: another run holds the round, or it is closed.
        """
        with self._database.writing() as session:
            require_owner(session, round_id, owner)
            session.execute(update(tables.Round).where(tables.Round.id == round_id).values(settings=settings))
            for table in (tables.RoundTemplate, tables.RoundDemonstration):
                session.execute(delete(table).where(table.round_id == round_id))
            write_templates(session, round_id, templates)
            write_pool(session, round_id, demonstrations)
            at = now()
            rows = [
                {
                    "round_id": round_id,
                    "setting": change.setting,
                    "before": [change.before],
                    "after": [change.after],
                    "owner": owner,
                    "changed_at": at,
                }
                for change in changes
            ]
            insert_all(session, tables.RoundChange, rows)

    def of_round(self, round_id: int) -> list[records.SettingChange]:
        """Return the changes of the round, the oldest first."""
        with self._database.reading() as session:
            rows = session.scalars(_of_round(round_id))
            return [records.SettingChange(row.setting, row.before[0], row.after[0]) for row in rows]


def read_changes(session: Session, round_id: int) -> list[dict[str, Any]]:
    """Return the changes of the round as JSON values, the oldest first, for the history."""
    return [
        {
            "setting": row.setting,
            "before": row.before[0],
            "after": row.after[0],
            "changed_at": row.changed_at.isoformat(),
        }
        for row in session.scalars(_of_round(round_id))
    ]


def _of_round(round_id: int) -> Any:
    return select(tables.RoundChange).where(tables.RoundChange.round_id == round_id).order_by(tables.RoundChange.id)


def _has_begun(round_id: int) -> dict[str, Any]:
    call, ranking, metric = tables.JudgeCall, tables.Ranking, tables.Metric
    drawn, candidate = tables.RoundPrompt, tables.Candidate
    answered = exists().where(
        candidate.round_id == round_id,
        drawn.round_id == round_id,
        drawn.prompt_id == candidate.prompt_id,
        drawn.purpose == "train",
    )
    asked = exists().where(call.round_id == round_id, call.status == "answered", call.purpose.in_(RANKING_PURPOSES))
    ranked = exists().where(ranking.round_id == round_id, ranking.ranked_by == "judge")
    by_policy = exists().where(ranking.round_id == round_id, ranking.ranked_by == "policy")
    return {
        "generate": answered,
        "judge": asked | ranked | exists().where(metric.round_id == round_id),
        "agree": by_policy,
        "train": exists().where(tables.Adapter.round_id == round_id),
        "evaluate": exists().where(metric.round_id == round_id, metric.name == "win_rate"),
    }
