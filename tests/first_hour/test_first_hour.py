"""Models, judges and files as people have them, through two rounds: no step fails, no label is wrong."""

import pytest

from tests.first_hour.walk import Case, cases, walk

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.mark.parametrize("case", cases(), ids=str)
def test_two_rounds(case: Case, tmp_path, models, monkeypatch):
    """Prevents a kind of model, judge or file that a user brings from failing, or from labels that nobody gave."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEST_JUDGE_KEY", "a-very-secret-key")
    assert len(walk(case, tmp_path, models).verdicts) == 2
