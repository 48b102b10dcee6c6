"""Keys of artifacts: one table and one page per experiment, whatever its name."""

import pytest

from flows.artifacts import key_prefix


@pytest.mark.parametrize(
    ("experiment", "prefix"),
    [("demo", "demo"), ("Qwen3-0.6B", "qwen3-0-6b"), ("a_b..c", "a-b-c"), ("x-", "x")],
)
def test_a_name_becomes_a_key_that_prefect_takes(experiment: str, prefix: str) -> None:
    """Prevents a round that fails at its end because of its experiment's name."""
    assert key_prefix(experiment, [experiment]) == prefix


def test_no_two_experiments_share_a_key() -> None:
    """Prevents one experiment's rounds from being shown as versions of another's table."""
    names = ["a-b", "A.b", "a_b", "a-b-2", "pld", "other"]
    prefixes = [key_prefix(name, names, reserved={"pld"}) for name in names]
    assert len(set(prefixes)) == len(names)
    assert prefixes == ["a-b", "a-b-2", "a-b-3", "a-b-2-2", "pld-2", "other"]


def test_a_later_experiment_changes_no_key() -> None:
    """Prevents a history that goes on under another key once a similar name is there."""
    assert key_prefix("A.b", ["a-b", "A.b"]) == key_prefix("A.b", ["a-b", "A.b", "a-b-2"]) == "a-b-2"
