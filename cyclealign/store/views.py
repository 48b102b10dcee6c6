"""Rows of the database's views as JSON values."""

from typing import Any, Literal

from sqlalchemy import text

from cyclealign.store.database import Database
from cyclealign.store.history import plain, require_experiment

_OF_EXPERIMENTS = {
    "judge_spending": "experiment, round, model, purpose, template_hash",
    "demonstration_history": "promoted_in_round, demonstration_id",
}
View = Literal["judge_spending", "demonstration_history"]


class ViewStore:
    """The views that have a column ``experiment``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self, view: View, experiment: str | None = None) -> list[dict[str, Any]]:
        """Return the rows of a view, of one experiment or of all.

        Raises:
            NoSuchExperiment: there is no such experiment; the message names those that there are.
        """
        condition = "" if experiment is None else "WHERE experiment = :experiment"
        query = f"SELECT * FROM {view} {condition} ORDER BY {_OF_EXPERIMENTS[view]}"  # noqa: S608 - names from above
        with self._database.reading() as session:
            if experiment is not None:
                require_experiment(session, experiment)
            values = {} if experiment is None else {"experiment": experiment}
            return [plain(row._asdict()) for row in session.execute(text(query), values)]
