"""Read a whole source: prompts with their split, labelled lists, bad rows and remarks."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cyclealign.errors import BadPrompts
from cyclealign.prompt_import.forms import HH_RLHF, PROMPTS, ReadRow, read_row
from cyclealign.prompt_import.logs import LeftOut, request_of
from cyclealign.prompt_import.redaction import redact, redact_messages
from cyclealign.prompt_import.rows import Row, RowRefused, SourceRow
from cyclealign.prompt_import.source import source_rows
from cyclealign.records import LabelledList, Prompt, Split

MAX_BAD_ROWS_SHOWN = 5


@dataclass(frozen=True)
class Imported:
    """The contents of a source: prompts with their split, and labelled lists of held-out prompts only.

    ``rows`` counts the rows read, bad ones included. ``left_out`` counts the labelled lists of train prompts.
    ``bad_rows`` are the first problems of rows that were skipped, ``skipped`` their number. ``remarks`` counts changes
    to rows by their description; ``unread`` are columns that were not read. ``dropped`` counts usable rows that were
    left out: records of a log without a chat, near-duplicates, and rows beyond a sample.
    """

    prompts: tuple[tuple[Prompt, Split], ...]
    labelled: tuple[LabelledList, ...]
    rows: int = 0
    left_out: int = 0
    skipped: int = 0
    bad_rows: tuple[str, ...] = ()
    remarks: Mapping[str, int] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    dropped: int = 0


def read_source(
    source: str,
    held_out_share: float = 0.1,
    *,
    column: str | None = None,
    skip_bad: bool = False,
    hold_out_labelled: bool = False,
    log: bool = False,
    redacted: bool = False,
) -> Imported:
    """Read prompts from a file, a folder that `datasets` saved, or a data set of the hub (``name`` or ``name:split``).

    docs/data.md lists the forms of files and rows. Equal prompts are read once. The split depends on nothing but the
    prompt's hash, or on its labelled lists.

    Args:
        column: the column to read as ``prompt``, a text or a list of turns.
        skip_bad: leave out rows that cannot be used.
        hold_out_labelled: hold out the prompts with a labelled list too, so that no list is left out.
        log: the rows are records of a log of chat requests (see `logs`).
        redacted: replace secrets and personal data, in prompts and answers (see `redaction`).

    Raises:
        BadPrompts: rows cannot be used; the message has their number, and the first ones by file and line.
    """
    contents = _Contents(f"imported: {Path(source).name}", log, redacted)
    for row in source_rows(source):
        contents.add(row, column)
    if contents.bad and not skip_bad:
        raise BadPrompts(_bad_rows_message(source, contents))
    if not contents.prompts:
        skipped = f" (bad rows skipped: {contents.bad}; {contents.first_bad[0]})" if contents.bad else ""
        left = f" (log records without a chat request: {contents.dropped})" if contents.dropped else ""
        raise BadPrompts(f"{source} contains no prompts{skipped}{left}.")
    return contents.split(held_out_share, hold_out_labelled)


def split_of(prompt: Prompt, held_out_share: float) -> Split:
    """Return the split of a prompt, by its hash: the same prompt is always in the same split."""
    return "held_out" if int(prompt.id[:8], 16) < held_out_share * 16**8 else "train"


class _Contents:
    """The rows read so far; each prompt and each list is held once."""

    def __init__(self, label: str, log: bool, redacted: bool) -> None:
        self.label, self.log, self.redacted = label, log, redacted
        self.dropped = 0
        self.rows = 0
        self.prompts: dict[str, Prompt] = {}
        self.lists: dict[str, LabelledList] = {}
        self.bad = 0
        self.first_bad: list[str] = []
        self.last_problem = ""
        self.remarks: Counter[str] = Counter()
        self.unread: set[str] = set()

    def add(self, source_row: SourceRow, column: str | None) -> None:
        """Add a row, or its problem."""
        self.rows += 1
        try:
            if source_row.problem:
                raise RowRefused(source_row.problem)
            value = request_of(source_row.value) if self.log else source_row.value
            row = Row.of(value if column is None else _with_column(value, column))
            self._keep(read_row(row))
        except LeftOut as reason:
            self.dropped += 1
            self.remarks[str(reason)] += 1
        except RowRefused as problem:
            self.bad += 1
            if len(self.first_bad) < MAX_BAD_ROWS_SHOWN:
                words = "the same." if str(problem) == self.last_problem else str(problem)
                self.first_bad.append(f"{source_row.where}: {words}")
            self.last_problem = str(problem)
        else:
            self.remarks.update(row.remarks)
            self.unread |= row.unread

    def _keep(self, read: ReadRow) -> None:
        if self.redacted:
            read = self._redacted(read)
        prompt = self.prompts.setdefault(read.prompt.id, read.prompt)
        if read.answers:
            labelled = LabelledList(prompt, read.answers, HH_RLHF if read.hh_rlhf else self.label)
            self.lists.setdefault(labelled.id, labelled)

    def _redacted(self, read: ReadRow) -> ReadRow:
        counts: Counter[str] = Counter()
        prompt = Prompt.of(redact_messages(read.prompt.messages, counts))
        answers = tuple(dict.fromkeys(redact(answer, counts) for answer in read.answers))
        self.remarks.update({f"Removed: {name}": count for name, count in counts.items()})
        return ReadRow(prompt, answers if len(answers) > 1 else (), read.hh_rlhf)

    def split(self, held_out_share: float, hold_out_labelled: bool) -> Imported:
        """Return the contents with the split of each prompt; lists of train prompts are counted and left out."""
        labelled_ids = {labelled.prompt.id for labelled in self.lists.values()} if hold_out_labelled else set()
        splits: dict[str, Split] = {
            prompt.id: "held_out" if prompt.id in labelled_ids else split_of(prompt, held_out_share)
            for prompt in self.prompts.values()
        }
        labelled = tuple(one for one in self.lists.values() if splits[one.prompt.id] == "held_out")
        return Imported(
            prompts=tuple((prompt, splits[prompt.id]) for prompt in self.prompts.values()),
            labelled=labelled,
            rows=self.rows,
            left_out=len(self.lists) - len(labelled),
            skipped=self.bad,
            bad_rows=tuple(self.first_bad),
            remarks=dict(self.remarks),
            unread=tuple(sorted(self.unread)),
            dropped=self.dropped,
        )


def _with_column(value: Any, column: str) -> Any:
    """Return the row with ``column`` as its prompt, instead of any other column that could be the prompt."""
    if not isinstance(value, dict):
        return value
    if column not in value:
        raise RowRefused(f"no column '{column}'; the columns are: {', '.join(map(str, value)) or 'none'}.")
    others = {name: part for name, part in value.items() if name not in PROMPTS and name != column}
    return {"prompt": value[column], **others}


def _bad_rows_message(source: str, contents: _Contents) -> str:
    if contents.bad == 1:
        return f"{contents.first_bad[0]} Nothing was imported. To leave such rows out, add --skip-bad."
    more = contents.bad - len(contents.first_bad)
    lines = [*contents.first_bad, *([f"and {more} more"] if more else [])]
    return (
        f"{contents.bad} of {contents.rows} rows of {source} cannot be used, so nothing was imported. Correct them, or "
        "leave them out with --skip-bad.\n" + "\n".join(lines)
    )
