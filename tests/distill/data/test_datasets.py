"""Rows of files and data sets, and their fingerprints."""

import gzip

import pytest

from cyclealign.distill.data.datasets import fingerprint, load_table
from cyclealign.distill.leaf.data import read_texts
from cyclealign.distill.pld.config import DataSettings
from cyclealign.distill.pld.sources import read
from cyclealign.errors import DistillError


def test_changed_rows_change_the_fingerprint(tmp_path):
    """Prevents a finished run from being reused after its data changed."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}')
    before, of_folder = fingerprint(str(path)), fingerprint(str(tmp_path))
    assert load_table(str(path))["text"][0] == "a"
    assert fingerprint(str(path)) == before
    path.write_text('{"text": "b"}')
    assert fingerprint(str(path)) != before
    assert fingerprint(str(tmp_path)) != of_folder


def written(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


@pytest.mark.parametrize("name", ["rows.tsv", "rows.tsv.gz"])
def test_quotation_marks_in_tsv_are_ordinary_characters(tmp_path, name):
    """Prevents a cell that starts with a quotation mark from swallowing the rows after it."""
    rows = load_table(written(tmp_path / name, 'text\tn\n"hello\t1\nworld\t2\nsaid "yes"\t3\n'))
    assert list(rows["text"]) == ['"hello', "world", 'said "yes"']


def test_cells_are_strings_as_written(tmp_path):
    """Prevents words such as NA from becoming missing values, and texts such as 0012 from becoming numbers."""
    path = written(tmp_path / "rows.csv", 'text,label\nNA,1\nnull,02\nnan,3\n0012,4\n"a, ""b""\nc",5\n,6\n')
    rows = load_table(path)
    assert list(rows["text"]) == ["NA", "null", "nan", "0012", 'a, "b"\nc', None]
    assert list(rows["label"]) == ["1", "02", "3", "4", "5", "6"]
    assert read_texts([path]) == ("NA", "null", "nan", "0012", 'a, "b"\nc')


def test_classes_by_number_are_read_from_a_csv_file(tmp_path):
    """Prevents numeric labels from being refused because all cells are strings."""
    path = written(tmp_path / "rows.csv", "text,label\n" + "".join(f"{n},{n % 2}\n" for n in range(6)))
    found = read(DataSettings(source="hub_texts", paths=(path,), input_column="text"))
    assert (found[0].tolist(), found[1]) == (list("012345"), ["0", "1"] * 3)


@pytest.mark.parametrize(
    ("name", "text"), [("rows.csv", "text\nhello, world\nb\n"), ("rows.tsv", "text\tn\na\tb\t1\n")]
)
def test_a_line_with_more_cells_than_the_heading_is_refused(tmp_path, name, text):
    """Prevents a text from being cut at a comma."""
    with pytest.raises(DistillError, match=r"Length of header or names does not match"):
        load_table(written(tmp_path / name, text))


def test_a_missing_file_has_no_fingerprint(tmp_path):
    """Prevents a misspelt path from being fingerprinted as if it existed."""
    with pytest.raises(DistillError, match=r"none\.jsonl.* is neither a readable local file"):
        fingerprint(str(tmp_path / "none.jsonl"))
