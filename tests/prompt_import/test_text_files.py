"""Files: encodings, compression, JSON arrays, tables and plain text; places of problems."""

import codecs
import gzip

import pytest

from cyclealign.errors import BadPrompts
from cyclealign.prompt_import import read_source
from tests.support.prompt_files import turns_of, written

LINES = '{"prompt":"Ä one"}\r\n\r\n{"prompt":"two"}\r\n'


def texts(path, **options):
    return [turns[0][1] for turns in turns_of(read_source(str(path), **options))]


@pytest.mark.parametrize(
    "content",
    [
        LINES.encode(),
        LINES.encode("utf-8-sig"),
        LINES.encode("utf-16"),
        codecs.BOM_UTF16_BE + LINES.encode("utf-16-be"),
        LINES.encode("utf-32"),
        gzip.compress(LINES.encode("utf-16")),
    ],
    ids=["utf-8", "bom", "utf-16", "utf-16-be", "utf-32", "packed"],
)
def test_encodings_with_a_mark_are_read(tmp_path, content):
    """Prevents files that Windows programs saved from being refused."""
    (tmp_path / "p.jsonl").write_bytes(content)
    assert texts(tmp_path / "p.jsonl") == ["Ä one", "two"]


def test_a_file_in_another_encoding_is_refused_by_line_with_the_command_that_converts_it(tmp_path):
    """Prevents a Latin-1 file from being refused without its line, or read as other letters."""
    (tmp_path / "p.jsonl").write_bytes(b'{"prompt":"fine"}\n{"prompt":"caf\xe9"}\n')
    with pytest.raises(BadPrompts, match=r"line 2: the byte 0xe9 is not UTF-8.*iconv"):
        read_source(str(tmp_path / "p.jsonl"))
    assert texts(tmp_path / "p.jsonl", skip_bad=True) == ["fine"]


def test_a_file_that_is_named_gz_but_not_compressed_is_refused_by_name(tmp_path):
    """Prevents an error about bad bytes where the name is wrong."""
    (tmp_path / "p.jsonl.gz").write_text('{"prompt":"x"}')
    with pytest.raises(BadPrompts, match=r"p\.jsonl\.gz: named \.gz, but not compressed. Rename it to p\.jsonl"):
        read_source(str(tmp_path / "p.jsonl.gz"))


def test_a_json_array_is_read_with_the_line_of_each_item(tmp_path):
    """Prevents exports of other tools from being refused, and a message that names no place."""
    rows = '[\n {"prompt": "one"},\n {"prompt":\n  "two"}\n, {"text": 3}]\n'
    with pytest.raises(BadPrompts, match=r"a\.json, line 5: expected a non-empty"):
        read_source(written(tmp_path, rows, name="a.json"))
    assert texts(written(tmp_path, rows, name="a.json"), skip_bad=True) == ["one", "two"]
    assert texts(written(tmp_path, '[{"prompt": "one"}]', name="a.jsonl.gz")) == ["one"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ('[{"prompt": "one"}', "the array has no end"),
        ('[{"prompt": "one"} {"prompt": "two"}]', "no comma or end"),
        ('[{"prompt": "one"},\n{"prompt"]', "line 2: not JSON"),
        ('["x"]\n{"prompt": "two"}', "text after the array"),
        ("[]", "contains no prompts"),
    ],
)
def test_a_broken_array_is_refused(tmp_path, array, message):
    """Prevents the first half of a cut file from passing for the whole."""
    with pytest.raises(BadPrompts, match=message):
        read_source(written(tmp_path, array, name="a.json"))


def test_tables_are_read_with_cells_that_hold_separators_and_lines(tmp_path):
    """Prevents a quoted line end from cutting a prompt in two."""
    comma = written(tmp_path, 'id,prompt,input\n1,"a, b\nc",\n2,d,\n', name="t.csv")
    assert texts(comma) == ["a, b\nc", "d"]
    assert texts(written(tmp_path, "id;prompt\n1;a, b\n", name="t.csv")) == ["a, b"]
    assert texts(written(tmp_path, 'q\tid\n"x ""y"""\t1\n', name="t.tsv"), column="q") == ['x "y"']
    assert texts(written(tmp_path, "prompt\nhello,\n", name="t.csv")) == ["hello"]
    pair = read_source(written(tmp_path, "prompt,chosen,rejected\nq,good,bad\n", name="t.csv"), 1.0)
    assert pair.labelled[0].answers == ("good", "bad")


def test_a_bad_row_of_a_table_is_named_by_the_line_on_which_it_begins(tmp_path):
    """Prevents a wrong line number after a cell with line ends, and a cell that slips into the next column."""
    rows = 'prompt,id\n"a\nb",1\n,2\nhello, you,3\n'
    with pytest.raises(BadPrompts) as problem:
        read_source(written(tmp_path, rows, name="t.csv"))
    assert ["line 4: expected" in str(problem.value), "line 5: 3 cells under the 2" in str(problem.value)] == [True] * 2


def test_an_open_quote_does_not_swallow_the_rest_of_a_table(tmp_path):
    """Prevents a stray quote from making one prompt of all the rows below it."""
    with pytest.raises(BadPrompts, match=r"line 2: not a row of a table .*Close each quote"):
        read_source(written(tmp_path, 'prompt,id\n"open,1\nnext,2\nlast,3\n', name="t.csv"))
    with pytest.raises(BadPrompts, match="line 2: not a row"):
        read_source(written(tmp_path, 'prompt,id\n"she said "no" twice",1\n', name="t.csv"))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b'"a"b,prompt', "names of the columns: not a row of a table .*Close each quote"),
        (b"prompt,id,prompt", "the column 'prompt' is there twice"),
        (b"prompt,cat\xe9gorie", "names of the columns: the byte 0xe9 is not UTF-8"),
    ],
    ids=["quote", "twice", "bytes"],
)
def test_a_first_line_that_names_no_clear_columns_is_refused(tmp_path, head, message):
    """Prevents a traceback, and the last of two columns of one name from being taken in silence."""
    (tmp_path / "t.csv").write_bytes(head + b"\nx,y,z\n")
    with pytest.raises(BadPrompts, match=message):
        read_source(str(tmp_path / "t.csv"), skip_bad=True)


def test_blank_lines_above_the_names_of_the_columns_are_skipped(tmp_path):
    """Prevents every row of a table from being refused for a blank line, and a wrong line number below it."""
    assert texts(written(tmp_path, "\n\nprompt;id\nhello;1\n", name="t.csv")) == ["hello"]
    with pytest.raises(BadPrompts, match="line 4: 3 cells under the 2 columns"):
        read_source(written(tmp_path, "\n\nprompt,id\na,b,c\n", name="t.csv"))


def test_plain_text_has_one_prompt_a_line(tmp_path):
    assert texts(written(tmp_path, "one\n\n  two\n", name="p.txt")) == ["one", "two"]
    with pytest.raises(BadPrompts, match=r"line 2: .*NUL"):
        read_source(written(tmp_path, "one\nt\x00wo\n", name="p.txt"))


def test_conversations_as_json_text_in_a_cell_are_read(tmp_path):
    """Prevents tables whose turns are JSON from being refused."""
    cell = '"[{""role"": ""user"", ""content"": ""hi""}]"'
    for name in ("messages", "prompt"):
        assert texts(written(tmp_path, f"{name}\n{cell}\n", name="t.csv")) == ["hi"]
    answer = '"[{""role"": ""assistant"", ""content"": ""ANSWER""}]"'
    pair = ",".join(answer.replace("ANSWER", text) for text in ("good", "bad"))
    read = read_source(written(tmp_path, f"prompt,chosen,rejected\nhi,{pair}\n", name="t.csv"), 1.0)
    assert read.labelled[0].answers == ("good", "bad")


def test_conversations_in_the_notation_of_python_are_refused(tmp_path):
    """Prevents brackets and roles from becoming the words of a prompt."""
    table = "prompt\n\"[{'role': 'user', 'content': 'hi'}]\"\n"
    with pytest.raises(BadPrompts, match="'prompt' is a text that is not JSON"):
        read_source(written(tmp_path, table, name="t.csv"))
    assert texts(written(tmp_path, "[{'role': ...}] is a list?\n", name="p.txt")) == ["[{'role': ...}] is a list?"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"prompt": "x1", "prompt": "x2"}', "the key 'prompt' is given twice"),
        ('{"messages": [{"role": "user", "content": "a", "content": "b"}]}', "the key 'content' is given twice"),
        ('{"prompt": NaN}', "expected a non-empty 'prompt'; found NaN"),
        ('{"prompt": "a\\u0000b"}', r"NUL character \(at character 2\)"),
        ('{"prompt": "\\ud83d"}', "half a character"),
        ('{"prompt": "a"} {"prompt": "b"}', "text after the object"),
        ("[" * 100_000, "not JSON"),
    ],
    ids=["key", "inner key", "NaN", "NUL", "surrogate", "two objects", "deep"],
)
def test_a_row_that_a_parser_would_take_with_loss_is_refused(tmp_path, row, message):
    """Prevents the last of two values from being taken in silence, and characters that a database changes."""
    with pytest.raises(BadPrompts, match=message):
        read_source(written(tmp_path, row))


def test_a_number_that_is_not_a_number_does_no_harm_elsewhere(tmp_path):
    """Prevents rows with a missing score from being refused."""
    assert texts(written(tmp_path, '{"prompt": "x", "score": NaN}')) == ["x"]
