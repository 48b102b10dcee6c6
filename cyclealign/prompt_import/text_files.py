"""Rows of text files: JSON Lines, a JSON array, CSV and TSV, and plain text with one prompt a line."""

import csv
import re
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

from cyclealign.errors import BadPrompts
from cyclealign.files import JsonReader, open_text
from cyclealign.prompt_import.rows import SourceRow, refuse_repeated

_BLANKS = re.compile(r"[ \t\r\n]*")
_SEPARATORS = {".csv": ",;\t", ".tsv": "\t"}


def text_rows(path: Path) -> Iterator[SourceRow]:
    """Yield the rows of a text file by its name (``.csv``, ``.tsv``, ``.txt``), else of its JSON; blank lines are none.

    Raises:
        BadPrompts: the file cannot be opened, decompressed or decoded.
    """
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    with open_text(path, BadPrompts, keep_undecodable=True, newline="" if kind in _SEPARATORS else None) as file:
        if kind in _SEPARATORS:
            yield from _table_rows(path, file, _SEPARATORS[kind])
        elif kind == ".txt":
            yield from _plain_rows(path, file)
        else:
            yield from _json_rows(path, file)


def _plain_rows(path: Path, file: TextIO) -> Iterator[SourceRow]:
    for where, line in _lines(path, file):
        problem = _undecodable(line)
        yield SourceRow(where, problem=problem) if problem else SourceRow(where, {"prompt": line})


def _json_rows(path: Path, file: TextIO) -> Iterator[SourceRow]:
    lines = _lines(path, file)
    first = next(lines, None)
    if first is None:
        return
    if first[1].lstrip().startswith("["):
        yield from _array_rows(path, f"{first[1]}\n{file.read()}", int(first[0].rpartition(" ")[2]))
        return
    decoder = JsonReader()
    for where, line in chain([first], lines):
        if problem := _undecodable(line):
            yield SourceRow(where, problem=problem)
            continue
        start = _after_blanks(line, 0)
        row, end = _json_row(decoder, where, line, start)
        if end >= 0 and _after_blanks(line, end) < len(line):
            row = SourceRow(where, problem="not JSON (text after the object). Each line must be one JSON object.")
        yield row


def _json_row(decoder: JsonReader, where: str, text: str, start: int) -> tuple[SourceRow, int]:
    """Return the row of the value at ``start``, and the position after it; -1 if there is no JSON value."""
    try:
        value, end = decoder.read(text, start)
    except ValueError as error:
        return SourceRow(where, problem=f"not JSON ({error}). Each line must be one JSON object."), -1
    if decoder.repeated_key is not None:
        return SourceRow(where, problem=f"the key '{decoder.repeated_key}' is given twice. Remove one of them."), end
    return SourceRow(where, value), end


def _array_rows(path: Path, text: str, line: int) -> Iterator[SourceRow]:
    """Yield the items of a JSON array, one at a time, with the line on which each begins."""
    if problem := _undecodable(text):
        yield SourceRow(str(path), problem=problem)
        return
    decoder, position, counted = JsonReader(), _after_blanks(text, 0) + 1, 0
    while (position := _after_blanks(text, position)) < len(text) and text[position] != "]":
        line, counted = line + text.count("\n", counted, position), position
        row, end = _json_row(decoder, f"{path}, line {line}", text, position)
        yield row
        position = _after_blanks(text, end) if end >= 0 else len(text) + 1
        if position < len(text) and text[position] == ",":
            position += 1
        elif position < len(text) and text[position] != "]":
            yield SourceRow(f"{path}, line {line}", problem="not JSON: the array has no comma or end after this item.")
            return
    if position == len(text):
        yield SourceRow(str(path), problem="not JSON: the array has no end.")
    elif position < len(text) and _after_blanks(text, position + 1) < len(text):
        yield SourceRow(str(path), problem="not JSON: text after the array. Give one array, or one object a line.")


def _table_rows(path: Path, file: TextIO, separators: str) -> Iterator[SourceRow]:
    """Yield the rows of a table whose first line names its columns; empty cells count as missing."""
    csv.field_size_limit(sys.maxsize)
    head = [file.readline()]
    while head[-1] and not head[-1].strip():
        head.append(file.readline())
    separator = max(separators, key=head[-1].count)
    reader = csv.reader(chain(head, file), delimiter=separator, strict=True)
    names = _column_names(path, reader)
    while True:
        where = f"{path}, line {reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield SourceRow(where, problem=_not_a_row(error))
            continue
        if not any(cell.strip() for cell in cells):
            continue
        yield _table_row(where, names, cells)


def _column_names(path: Path, reader: Iterator[list[str]]) -> list[str]:
    """Return the cells of the first line that is not blank; none of an empty table.

    Raises:
        BadPrompts: the line cannot be read, or names a column twice.
    """
    try:
        names = next((cells for cells in reader if any(cell.strip() for cell in cells)), [])
    except csv.Error as error:
        raise BadPrompts(f"{path}, names of the columns: {_not_a_row(error)}") from error
    if problem := _undecodable("".join(names)):
        raise BadPrompts(f"{path}, names of the columns: {problem}")
    refuse_repeated(path, names)
    return names


def _not_a_row(error: csv.Error) -> str:
    return f"not a row of a table ({error}). Close each quote, and double those inside."


def _table_row(where: str, names: list[str], cells: list[str]) -> SourceRow:
    if problem := _undecodable("".join(cells)):
        return SourceRow(where, problem=problem)
    if any(cells[len(names) :]):
        fix = "Quote cells that hold the separator or line ends."
        return SourceRow(where, problem=f"{len(cells)} cells under the {len(names)} columns of the table. {fix}")
    return SourceRow(where, {name: cell or None for name, cell in zip(names, cells, strict=False)})


def _lines(path: Path, file: TextIO) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            yield f"{path}, line {number}", line.rstrip("\n")


def _undecodable(text: str) -> str:
    """Return the problem of a text with bytes that are not UTF-8 (read as lone surrogates), empty if there is none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        if 0xDC80 <= code <= 0xDCFF:
            return (
                f"the byte 0x{code - 0xDC00:02x} is not UTF-8. Convert the file, such as with: iconv -f WINDOWS-1252 "
                "-t UTF-8"
            )
        return "half a character (a lone surrogate), which databases cannot store. Remove it."
    return ""


def _after_blanks(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    return match.end() if match else position
