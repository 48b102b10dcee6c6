"""Sources other than text files: Parquet, folders that `datasets` saved, other kinds of files."""

import pyarrow
import pytest
from datasets import Dataset, DatasetDict
from pyarrow import parquet

from cyclealign.errors import BadPrompts
from cyclealign.prompt_import import read_source
from tests.support.prompt_files import turns_of

ROWS = [
    {"messages": [{"role": "user", "content": "hi", "tool_calls": None}], "score": 0.5},
    {"messages": [{"role": "user", "content": "ho", "tool_calls": None}], "score": None},
]


def test_parquet_is_read_by_its_content(tmp_path):
    """Prevents a table under another name from being read as text."""
    for name in ("p.parquet", "p.data"):
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / name)
        assert turns_of(read_source(str(tmp_path / name))) == [[("user", "hi")], [("user", "ho")]]


def test_rows_of_parquet_are_named(tmp_path):
    parquet.write_table(pyarrow.Table.from_pylist([{"prompt": "a"}, {"prompt": None}]), tmp_path / "p.parquet")
    with pytest.raises(BadPrompts, match=r"p\.parquet, row 2: expected a non-empty"):
        read_source(str(tmp_path / "p.parquet"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BadPrompts, match=r"broken\.parquet: cannot be read as Parquet"):
        read_source(str(tmp_path / "broken.parquet"))


def test_parquet_that_names_a_column_twice_is_refused(tmp_path):
    """Prevents the last of two columns of one name from being taken in silence."""
    parquet.write_table(pyarrow.table([["a"], ["b"]], names=["prompt", "prompt"]), tmp_path / "p.parquet")
    with pytest.raises(BadPrompts, match="the column 'prompt' is there twice"):
        read_source(str(tmp_path / "p.parquet"))


def test_a_saved_data_set_is_read_and_its_splits_are_named(tmp_path):
    """Prevents all splits, the test split too, from being imported together."""
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "one")
    assert len(read_source(str(tmp_path / "one")).prompts) == 2
    DatasetDict(train=Dataset.from_list(ROWS), test=Dataset.from_list(ROWS)).save_to_disk(tmp_path / "two")
    with pytest.raises(BadPrompts, match=r"splits test, train. Name one, such as .*two/test"):
        read_source(str(tmp_path / "two"))
    assert len(read_source(str(tmp_path / "two" / "train")).prompts) == 2


def test_folders_and_files_of_other_kinds_are_refused_with_the_fix(tmp_path):
    (tmp_path / "mine.jsonl").touch()
    with pytest.raises(BadPrompts, match=r"Name a file in it: mine\.jsonl"):
        read_source(str(tmp_path))
    for name, fix in (("p.jsonl.zst", "Decompress it first"), ("p.xlsx", "Save it as CSV first")):
        (tmp_path / name).touch()
        with pytest.raises(BadPrompts, match=fix):
            read_source(str(tmp_path / name))
