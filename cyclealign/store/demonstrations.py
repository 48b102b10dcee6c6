"""Demonstrations and template versions: what a round proposes counts while its verdict is ``accepted``."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Exists, delete, exists, or_, select
from sqlalchemy.orm import Session, aliased

from cyclealign import records, tables
from cyclealign.store.connecting import Database
from cyclealign.store.plans import demonstration_record, remember_demonstrations
from cyclealign.store.writing import insert_all, refused, require_open


class DemonstrationMemory(Database):
    """The part of the store that says which demonstrations and templates are in use."""

    def propose_demonstrations(
        self, round_id: int, promoted: Sequence[tuple[records.Demonstration, str]], retired_ids: Sequence[str]
    ) -> None:
        """Replace this round's proposals: (demonstration, id of its prompt) pairs to promote, and ids to retire.

        The same demonstration may be proposed again by a later round, whatever became of this one.

        Raises:
            LeaseLost: the round is closed.
        """
        with self.writing() as session:
            require_open(session, round_id)
            for table in (tables.DemonstrationPromotion, tables.DemonstrationRetirement):
                session.execute(delete(table).where(table.round_id == round_id))
            remember_demonstrations(session, [shown for shown, _ in promoted])
            _write_promotions(session, round_id, promoted)
            retired = [{"round_id": round_id, "demonstration_id": gone} for gone in dict.fromkeys(retired_ids)]
            insert_all(session, tables.DemonstrationRetirement, retired)

    def active_demonstrations(self, experiment: str, if_accepted: int | None = None) -> list[records.Demonstration]:
        """The dynamic ones in use: promoted by an accepted round, not retired by an accepted one since; newest first.

        Those of one round keep the order in which it proposed them. ``promoted_round`` is the round's number. With
        ``if_accepted``, the id of an open round: those that will be in use once that one is accepted.
        """
        promotion, promoting = tables.DemonstrationPromotion, tables.Round
        with self.reading() as session:
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

    def accepted_template(self, experiment: str, name: str) -> records.Template | None:
        """The version of the template that the last accepted round used; None if no round was accepted."""
        used = tables.RoundTemplate
        with self.reading() as session:
            text = session.scalar(
                select(tables.Template.text)
                .join(used, used.template_hash == tables.Template.hash)
                .join(tables.Round, tables.Round.id == used.round_id)
                .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
                .where(tables.Experiment.name == experiment, used.name == name, tables.Round.verdict == "accepted")
                .order_by(tables.Round.number.desc())
                .limit(1)
            )
            return None if text is None else records.Template(name, text)

    def dropped_templates(self, experiment: str, name: str) -> set[str]:
        """Hashes of the versions that rounds used which were rolled back, and no accepted round.

        A round that was refused drops none: what was found unfit is the judge, and perhaps another one is to come.
        """
        used = tables.RoundTemplate
        with self.reading() as session:
            found = session.execute(
                select(used.template_hash, tables.Round.verdict)
                .join(tables.Round, tables.Round.id == used.round_id)
                .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
                .where(tables.Experiment.name == experiment, used.name == name, ~refused())
            ).all()
        accepted = {version for version, verdict in found if verdict == "accepted"}
        return {version for version, verdict in found if verdict == "rolled_back"} - accepted


def _counts(proposing: type[tables.Round], if_accepted: int | None) -> ColumnElement[bool]:
    """Whether what the round proposed counts."""
    accepted = proposing.verdict == "accepted"
    return accepted if if_accepted is None else or_(accepted, proposing.id == if_accepted)


def _retired_since(if_accepted: int | None) -> Exists:
    """Whether an accepted round, the promoting one or a later one of its experiment, retired the demonstration."""
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
