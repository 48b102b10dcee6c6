"""Demonstrations: the proposals of a round count only if its verdict is ``accepted``."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Exists, delete, exists, or_, select
from sqlalchemy.orm import Session, aliased

from cyclealign import records, tables
from cyclealign.store.plans import demonstration_record, remember_demonstrations
from cyclealign.store.repository import Repository
from cyclealign.store.statements import insert_all, require_open


class DemonstrationStore(Repository):
    """Demonstrations, promoted and retired."""

    def propose(
        self, round_id: int, promoted: Sequence[tuple[records.Demonstration, str]], retired_ids: Sequence[str]
    ) -> None:
        """Replace this round's proposals: (demonstration, id of its prompt) pairs to promote, and ids to retire.

        A later round may propose the same demonstration again, even if this one was accepted.

        Raises:
            LeaseLost: the round is closed.
        """
        with self._database.writing() as session:
            require_open(session, round_id)
            for table in (tables.DemonstrationPromotion, tables.DemonstrationRetirement):
                session.execute(delete(table).where(table.round_id == round_id))
            remember_demonstrations(session, [shown for shown, _ in promoted])
            _write_promotions(session, round_id, promoted)
            retired = [{"round_id": round_id, "demonstration_id": gone} for gone in dict.fromkeys(retired_ids)]
            insert_all(session, tables.DemonstrationRetirement, retired)

    def active(self, experiment: str, if_accepted: int | None = None) -> list[records.Demonstration]:
        """Return the dynamic demonstrations in use: promoted by an accepted round and not retired by an accepted one
        since; newest first.

        Those of one round keep the order in which it proposed them. ``promoted_round`` is the round's number. With
        ``if_accepted``, the id of an open round: those that will be in use once that one is accepted.
        """
        promotion, promoting = tables.DemonstrationPromotion, tables.Round
        with self._database.reading() as session:
            found = session.execute(
                select(tables.Demonstration, promotion, promoting.number)
                .join(promotion, promotion.demonstration_id == tables.Demonstration.id)
                .join(promoting, promoting.id == promotion.round_id)
                .join(tables.Experiment, tables.Experiment.id == promoting.experiment_id)
                .where(tables.Experiment.name == experiment, _counts(promoting, if_accepted))
                .where(~_retired_since(if_accepted))
                .order_by(promoting.number.desc(), promotion.position)
            )
            active: dict[str, records.Demonstration] = {}
            for content, proposal, number in found:
                newest = demonstration_record(content, proposal.tau, proposal.chance, number)
                active.setdefault(content.id, newest)
            return list(active.values())


def _counts(proposing: type[tables.Round], if_accepted: int | None) -> ColumnElement[bool]:
    """Return the condition that the round's proposals count."""
    accepted = proposing.verdict == "accepted"
    return accepted if if_accepted is None else or_(accepted, proposing.id == if_accepted)


def _retired_since(if_accepted: int | None) -> Exists:
    """Return the condition that an accepted round, the promoting one or a later one, retired the demonstration."""
    retirement, retiring = tables.DemonstrationRetirement, aliased(tables.Round)
    return exists().where(
        retirement.demonstration_id == tables.DemonstrationPromotion.demonstration_id,
        retiring.id == retirement.round_id,
        retiring.experiment_id == tables.Round.experiment_id,
        retiring.number >= tables.Round.number,
        _counts(retiring, if_accepted),
    )


def _write_promotions(session: Session, round_id: int, promoted: Sequence[tuple[records.Demonstration, str]]) -> None:
    once: dict[str, tuple[records.Demonstration, str]] = {}
    for shown, prompt_id in promoted:
        once.setdefault(shown.id, (shown, prompt_id))
    rows = [
        {
            "round_id": round_id,
            "demonstration_id": shown.id,
            "position": position,
            "prompt_id": prompt_id,
            "tau": shown.tau,
            "chance": shown.chance,
        }
        for position, (shown, prompt_id) in enumerate(once.values())
    ]
    insert_all(session, tables.DemonstrationPromotion, rows)
