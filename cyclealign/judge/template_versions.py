"""Labels that another version of a template made than its file holds now. Pure, but for a look at the file."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from cyclealign.errors import BadTemplate
from cyclealign.judge.templates import load_template
from cyclealign.records import LabelVersion, Template


def of_folder(labels: Sequence[LabelVersion], folder: Path) -> list[LabelVersion]:
    """The labels of the experiments whose last round took its templates from this folder."""
    last = {each.experiment: each.folder for each in labels}
    return [each for each in labels if Path(last[each.experiment]).resolve() == folder.resolve()]


def stale_by_now(labels: Sequence[LabelVersion], name: str) -> list[str]:
    """As `stale`, by the file that one experiment's last round took; nothing where that cannot be read from here."""
    if not labels:
        return []
    folder = Path(labels[-1].folder)
    try:
        template = load_template(folder, name)
    except BadTemplate:
        return []
    return stale(labels, template, folder)


def stale(labels: Sequence[LabelVersion], template: Template, folder: Path) -> list[str]:
    """A sentence for each experiment and each version, other than the template's, that made labels in it."""
    made: dict[tuple[str, str], list[LabelVersion]] = {}
    for each in labels:
        if each.version != template.hash:
            made.setdefault((each.experiment, each.version), []).append(each)
    return [_sentence(rows, template, folder) for rows in made.values()]


def _sentence(rows: Sequence[LabelVersion], template: Template, folder: Path) -> str:
    numbers, experiment = [each.number for each in rows], rows[0].experiment
    count, rounds = sum(each.labels for each in rows), "round" if len(rows) == 1 else "rounds"
    command = f"cyclealign rejudge {experiment} --round {numbers[-1]} --template {quote(str(folder))}"
    return (
        f"{template.name}.jinja is version {template.hash[:12]}; the labels of {rounds} {spans(numbers)} of "
        f"'{experiment}' ({count}) were made with {rows[0].version[:12]}: `{command}` shows what would change."
    )


def spans(numbers: Sequence[int]) -> str:
    """Rising numbers in words: ``1-3, 5``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
