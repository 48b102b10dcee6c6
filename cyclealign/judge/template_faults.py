"""Names that a template uses and its variables do not have: in words, with the line of the file."""

import traceback
from dataclasses import fields, is_dataclass

import jinja2
from jinja2 import StrictUndefined, UndefinedError

from cyclealign.text import did_you_mean


class NamedUndefined(StrictUndefined):
    """An undefined name; that of a part names the parts that there are, instead of a class of this project."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        whole, name = self._undefined_obj, str(self._undefined_name)
        if isinstance(whole, type) or not is_dataclass(whole):
            return super()._undefined_message
        parts = [field.name for field in fields(whole)]
        return f"unknown part '.{name}'.{did_you_mean(name, parts) or ' There are: ' + ', '.join(parts) + '.'}"


def fault_of(error: UndefinedError, compiled: jinja2.Template) -> str:
    """Return line and message of an undefined name met while rendering."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    where = f", line {compiled.get_corresponding_lineno(lines[-1])}" if lines and lines[-1] else ""
    words = error.message or "an undefined name"
    return f"{where}: {words}" if words.endswith((".", "?")) else f"{where}: {words}."
