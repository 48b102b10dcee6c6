"""docs/database.md names the columns that the views have, and its queries run."""

import re

import pytest
import sqlalchemy as sa

from cyclealign.evaluation.metric_table import ROUND_METRICS
from cyclealign.store import Store
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "database.md").read_text(encoding="utf-8")
VIEWS = (
    *("round_summary", "training_steps", "answers"),
    *("judge_spending", "demonstration_history", "distillation_summary"),
)
BOUNDS = {column for metric in ROUND_METRICS for column in metric.view_columns if column != metric.name}


def section(view: str) -> str:
    return PAGE.split(f"\n## {view}\n")[1].split("\n## ")[0]


def documented(view: str) -> set[str]:
    """Return the names in the first column of the section's tables."""
    cells = re.findall(r"^\| (`.*?) \|", section(view), re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([a-z_]+)`", cell)}


@pytest.mark.parametrize("view", VIEWS)
def test_every_column_of_a_view_is_explained(store: Store, view: str) -> None:
    """Prevents columns that nobody can interpret, and explanations of columns that do not exist."""
    with store.engine.connect() as connection:
        columns = {*connection.exec_driver_sql(f"SELECT * FROM {view} LIMIT 0").keys()}
    assert columns - BOUNDS == documented(view)


def test_every_view_has_its_section(store: Store) -> None:
    """Prevents a view that only its migration tells of."""
    assert set(sa.inspect(store.engine).get_view_names()) == {*VIEWS}


def test_every_example_runs(store: Store) -> None:
    """Prevents examples that end in a syntax error, on either database."""
    queries = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    assert len(queries) == len(VIEWS)
    with store.engine.connect() as connection:
        for query in queries:
            connection.execute(sa.text(query)).all()


def test_every_answer_to_a_question_runs(store: Store) -> None:
    """Prevents statements in the table of questions that end in an error, on either database."""
    page = (ROOT / "docs" / "browse.md").read_text(encoding="utf-8")
    queries = re.findall(r"`(SELECT [^`]+)`", page)
    assert len(queries) == 10
    with store.engine.connect() as connection:
        for query in queries:
            connection.execute(sa.text(query)).all()
