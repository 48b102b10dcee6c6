"""The config of a first experiment: the commented example, with a user's own values."""

import re
from collections.abc import Mapping

from cyclealign.files import EXAMPLES

STARTER = EXAMPLES / "own-model.toml"
HEAD = """\
# Written by `cyclealign init`. Check it:  cyclealign doctor {file} --ask
# Run a round:                            cyclealign run {file}
# Every other setting: docs/configuration.md
"""
_SETTING = re.compile(r'^(?P<key>\w+) = (?P<value>"(?:[^"\\]|\\.)*"|[^#]*?)(?P<comment>\s*(?:#.*)?)$')


def starter_config(file: str, values: Mapping[str, str | int], added: Mapping[str, str] | None = None) -> str:
    """Return the text of the example config with other values.

    Args:
        file: name of the file, for the commands in its head.
        values: dotted name of a setting of the example -> its value.
        added: top-level settings that the example lacks.

    Raises:
        KeyError: the example has no such setting.
    """
    left, section, lines = dict(values), "", list[str]()
    body = STARTER.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(body) if not line.startswith("#"))
    for line in body[start:]:
        if line.startswith("["):
            section = f"{line.strip('[]')}."
        match = _SETTING.match(line)
        if match and f"{section}{match['key']}" in left:
            line = f"{match['key']} = {toml_value(left.pop(section + match['key']))}{match['comment']}"
        lines.append(line)
        if match and match["key"] == "experiment":
            lines += [f"{name} = {toml_value(value)}" for name, value in (added or {}).items()]
    if left:
        raise KeyError(", ".join(left))
    return HEAD.format(file=file) + "\n".join(lines) + "\n"


def toml_value(value: str | int) -> str:
    """Return a value in TOML's spelling."""
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
