"""Versions of the judge's templates, and the rounds and labels that used them."""

from sqlalchemy import func, select

from cyclealign import records, tables
from cyclealign.store.database import Database
from cyclealign.store.plans import remember_templates
from cyclealign.store.statements import refused


class TemplateStore:
    """Template versions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, template: records.Template) -> None:
        """Store the text of a template that no round was opened with, so that calls may refer to it."""
        with self._database.writing() as session:
            remember_templates(session, [template])

    def last_accepted(self, experiment: str, name: str) -> records.Template | None:
        """Return the version of the template that the last accepted round used; None if no round was accepted."""
        used = tables.RoundTemplate
        with self._database.reading() as session:
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

    def rolled_back(self, experiment: str, name: str) -> set[str]:
        """Return the hashes of the versions that rolled-back rounds used and no accepted round did.

        Rounds that were refused because of the judge are ignored: its templates may be fine with another judge.
        """
        used = tables.RoundTemplate
        with self._database.reading() as session:
            found = session.execute(
                select(used.template_hash, tables.Round.verdict)
                .join(tables.Round, tables.Round.id == used.round_id)
                .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
                .where(tables.Experiment.name == experiment, used.name == name, ~refused())
            ).all()
        accepted = {version for version, verdict in found if verdict == "accepted"}
        return {version for version, verdict in found if verdict == "rolled_back"} - accepted

    def label_versions(self, name: str, experiment: str | None = None) -> list[records.LabelVersion]:
        """Return the version of a template that made the judge's rankings of each round, by experiment and round."""
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
        with self._database.reading() as session:
            return [
                records.LabelVersion(of, number, str(settings.get("templates", "prompts")), version, count)
                for of, number, settings, version, count in session.execute(statement)
            ]
