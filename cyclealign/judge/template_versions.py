"""Labels made by an older template version than the file on disk. Pure, except for reading the file."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from cyclealign.errors import BadTemplate
from cyclealign.judge.templates import load_template
from cyclealign.records import LabelVersion, Template


def from_folder(labels: Sequence[LabelVersion], folder: Path) -> list[LabelVersion]:
    """Return the labels of experiments whose last round took its templates from this folder."""
    last = {label.experiment: label.folder for label in labels}
    return [label for label in labels if Path(last[label.experiment]).resolve() == folder.resolve()]


def stale_on_disk(labels: Sequence[LabelVersion], name: str) -> list[str]:
    """Return `stale_messages` against the file that the experiment's last round used; none if it cannot be read."""
    if not labels:
        return []
    folder = Path(labels[-1].folder)
    try:
        template = load_template(folder, name)
    except BadTemplate:
        return []
    return stale_messages(labels, template, folder)


def stale_messages(labels: Sequence[LabelVersion], template: Template, folder: Path) -> list[str]:
    """Return one message per experiment and template version, other than ``template``, that has labels."""
    by_version: dict[tuple[str, str], list[LabelVersion]] = {}
    for label in labels:
        if label.version != template.hash:
            by_version.setdefault((label.experiment, label.version), []).append(label)
    return [_message(rows, template, folder) for rows in by_version.values()]


def _message(rows: Sequence[LabelVersion], template: Template, folder: Path) -> str:
    numbers, experiment = [row.number for row in rows], rows[0].experiment
    count, rounds = sum(row.labels for row in rows), "round" if len(rows) == 1 else "rounds"
    command = f"cyclealign rejudge {experiment} --round {numbers[-1]} --template {quote(str(folder))}"
    return (
        f"{template.name}.jinja is version {template.hash[:12]}; the labels of {rounds} {format_ranges(numbers)} of "
        f"'{experiment}' ({count}) were made with {rows[0].version[:12]}: `{command}` shows what would change."
    )


def format_ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as text, with ranges: ``1-3, 5``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
