"""Versions of the judge's templates, and the rounds and labels that used them."""

from typing import Any

from sqlalchemy import func, select

from cyclealign import records, tables
from cyclealign.store.history import require_experiment
from cyclealign.store.metrics import metric_record
from cyclealign.store.plans import remember_templates
from cyclealign.store.repository import Repository
from cyclealign.store.statements import insert_new, now, refused


class TemplateStore(Repository):
    """Template versions."""

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

    def trials(self, experiment: str, name: str, version: str, verdict: str) -> list[records.TemplateTrial]:
        """Return the rounds with this verdict that used a version of a template, by number; not those refused."""
        used, metric = tables.RoundTemplate, tables.Metric
        accuracy = (metric.round_id == tables.Round.id) & (metric.name == "judge_accuracy")
        query = (
            select(tables.Round, metric)
            .join(used, used.round_id == tables.Round.id)
            .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
            .outerjoin(metric, accuracy)
            .where(tables.Experiment.name == experiment, used.name == name, used.template_hash == version)
            .where(tables.Round.verdict == verdict, ~refused())
            .order_by(tables.Round.number)
        )
        with self._database.reading() as session:
            return [_trial(round_, measured) for round_, measured in session.execute(query).tuples()]

    def keep(self, experiment: str, template: records.Template) -> None:
        """Record that an experiment uses this version, although a rolled-back round used it.

        Raises:
            NoSuchExperiment: there is no such experiment; the message names those that there are.
        """
        table = tables.KeptTemplate
        with self._database.writing() as session:
            require_experiment(session, experiment)
            found = session.scalars(select(tables.Experiment.id).where(tables.Experiment.name == experiment)).one()
            remember_templates(session, [template])
            row = {"experiment_id": found, "template_hash": template.hash, "kept_at": now()}
            insert_new(session, table, [row], table.template_hash)

    def kept(self, experiment: str) -> set[str]:
        """Return the hashes of the versions that people keep for an experiment."""
        table = tables.KeptTemplate
        query = (
            select(table.template_hash)
            .join(tables.Experiment, tables.Experiment.id == table.experiment_id)
            .where(tables.Experiment.name == experiment)
        )
        with self._database.reading() as session:
            return set(session.scalars(query))

    def label_versions(self, name: str, experiment: str | None = None) -> list[records.LabelVersion]:
        """Return the version of a template that made the judge's rankings of each round, by experiment and round."""
        used, label, total = tables.RoundTemplate, tables.Ranking, tables.RoundTotal
        row, folder = tables.Round, tables.Round.settings["templates"].as_string()
        counted = select(func.count()).where(label.round_id == row.id, label.ranked_by == "judge").scalar_subquery()
        count = func.coalesce(total.prompts_judged, counted)
        statement = (
            select(tables.Experiment.name, row.number, func.coalesce(folder, "prompts"), used.template_hash, count)
            .join(tables.Experiment, tables.Experiment.id == row.experiment_id)
            .join(used, used.round_id == row.id)
            .outerjoin(total, total.round_id == row.id)
            .where(used.name == name, count > 0)
            .order_by(tables.Experiment.id, row.number)
        )
        if experiment is not None:
            statement = statement.where(tables.Experiment.name == experiment)
        with self._database.reading() as session:
            return [records.LabelVersion(*found) for found in session.execute(statement)]

    def versions(self, experiment: str) -> list[dict[str, Any]]:
        """Return the versions of the judge's templates that rounds of the experiment used, in the order of use.

        Keys: ``name``, ``template_hash``, ``text``, ``first_seen_at``, and ``rounds``, each with ``round``,
        ``verdict``, ``labels`` (rankings by the judge) and ``judge_accuracy`` (a `Metric`, or None).

        Raises:
            NoSuchExperiment: there is no such experiment; the message names those that there are.
        """
        used, metric = tables.RoundTemplate, tables.Metric
        accuracy = (metric.round_id == tables.Round.id) & (metric.name == "judge_accuracy")
        label = tables.Ranking
        labels = select(func.count()).where(label.round_id == tables.Round.id, label.ranked_by == "judge")
        query = (
            select(tables.Template, tables.Round, metric, labels.correlate(tables.Round).scalar_subquery())
            .join(used, used.template_hash == tables.Template.hash)
            .join(tables.Round, tables.Round.id == used.round_id)
            .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
            .outerjoin(metric, accuracy)
            .where(tables.Experiment.name == experiment)
            .order_by(used.name, tables.Round.number)
        )
        versions: dict[str, dict[str, Any]] = {}
        with self._database.reading() as session:
            require_experiment(session, experiment)
            for template, round_, measured, count in session.execute(query).tuples():
                version = versions.setdefault(template.hash, {**_version(template), "rounds": []})
                version["rounds"].append(
                    {
                        "round": round_.number,
                        "verdict": round_.verdict,
                        "labels": count,
                        "judge_accuracy": None if measured is None else metric_record(measured),
                    }
                )
        return list(versions.values())


def _version(template: tables.Template) -> dict[str, Any]:
    return {
        "name": template.name,
        "template_hash": template.hash,
        "text": template.text,
        "first_seen_at": template.first_seen_at.isoformat(),
    }


def _trial(round_: tables.Round, accuracy: tables.Metric | None) -> records.TemplateTrial:
    model = str(round_.settings.get("judge", {}).get("model", ""))
    measured = None if accuracy is None else metric_record(accuracy)
    return records.TemplateTrial(round_.number, round_.reason or "", model, measured)
