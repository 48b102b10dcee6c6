"""Rows of files and data sets: what they are known by."""

import pytest

from cyclealign.distill.tables import fingerprint, table
from cyclealign.errors import DistillError


def test_changed_rows_are_known_by_another_name(tmp_path):
    """Prevents a run on data that was changed from being found finished."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}')
    before, of_folder = fingerprint(str(path)), fingerprint(str(tmp_path))
    assert table(str(path))["text"][0] == "a"
    assert fingerprint(str(path)) == before
    path.write_text('{"text": "b"}')
    assert fingerprint(str(path)) != before
    assert fingerprint(str(tmp_path)) != of_folder


def test_what_is_not_there_has_no_name(tmp_path):
    """Prevents a misspelt file from being known by its misspelling."""
    with pytest.raises(DistillError, match=r"none\.jsonl.* is neither a file"):
        fingerprint(str(tmp_path / "none.jsonl"))
