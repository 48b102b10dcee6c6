"""Rows of files and data sets: what they are known by."""

import gzip

import pytest

from cyclealign.distill.data.datasets import fingerprint, table
from cyclealign.distill.leaf.data import texts
from cyclealign.distill.pld.config import DataSettings
from cyclealign.distill.pld.sources import read
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


def written(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


@pytest.mark.parametrize("name", ["rows.tsv", "rows.tsv.gz"])
def test_quotation_marks_between_tabs_are_signs_like_others(tmp_path, name):
    """Prevents a text that opens with a quotation mark from swallowing the rows after it."""
    rows = table(written(tmp_path / name, 'text\tn\n"hello\t1\nworld\t2\nsaid "yes"\t3\n'))
    assert list(rows["text"]) == ['"hello', "world", 'said "yes"']


def test_cells_are_texts_as_they_are_written(tmp_path):
    """Prevents words such as NA from being lost, and figures within texts from losing their zeros."""
    path = written(tmp_path / "rows.csv", 'text,label\nNA,1\nnull,02\nnan,3\n0012,4\n"a, ""b""\nc",5\n,6\n')
    rows = table(path)
    assert list(rows["text"]) == ["NA", "null", "nan", "0012", 'a, "b"\nc', None]
    assert list(rows["label"]) == ["1", "02", "3", "4", "5", "6"]
    assert texts([path]) == ("NA", "null", "nan", "0012", 'a, "b"\nc')


def test_classes_by_number_are_read_from_a_csv_file(tmp_path):
    """Prevents labels from being refused since all cells are texts."""
    path = written(tmp_path / "rows.csv", "text,label\n" + "".join(f"{n},{n % 2}\n" for n in range(6)))
    found = read(DataSettings(source="hub_texts", paths=(path,), input_column="text"))
    assert (found[0].tolist(), found[1]) == (list("012345"), ["0", "1"] * 3)


@pytest.mark.parametrize(
    ("name", "text"), [("rows.csv", "text\nhello, world\nb\n"), ("rows.tsv", "text\tn\na\tb\t1\n")]
)
def test_a_line_with_more_cells_than_the_heading_is_refused(tmp_path, name, text):
    """Prevents a text with a comma from being cut at it."""
    with pytest.raises(DistillError, match=r"Length of header or names does not match"):
        table(written(tmp_path / name, text))


def test_what_is_not_there_has_no_name(tmp_path):
    """Prevents a misspelt file from being known by its misspelling."""
    with pytest.raises(DistillError, match=r"none\.jsonl.* is neither a file"):
        fingerprint(str(tmp_path / "none.jsonl"))
