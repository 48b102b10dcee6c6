"""The JSON schema of settings as the form in the Prefect UI shows them well."""

from collections.abc import Iterable
from typing import Any

NULL = {"type": "null"}
# In place of null where it is not the default: Prefect refuses null, and a setting left out would take its default.
NONE = {"type": "string", "enum": ["none"], "title": "none"}
SIMPLE = {"string", "integer", "number", "boolean"}


def without_null(schema: dict[str, Any]) -> None:
    """Show each optional setting of a section as an empty field.

    The union with null, which pydantic writes, becomes a switch that reads `Property is type "None"`. Prefect accepts
    null for any setting without a default in the schema, so stored parameters that hold null stay valid. A setting
    whose default is a value takes the word "none" instead.
    """
    for setting in schema.get("properties", {}).values():
        kinds = [kind for kind in setting.get("anyOf", ()) if kind != NULL]
        is_optional = NULL in setting.get("anyOf", ()) and "default" in setting
        if len(kinds) != 1 or kinds[0].get("type") not in SIMPLE or not is_optional:
            continue
        if setting["default"] is not None:
            setting["anyOf"] = [kinds[0], NONE]
            continue
        del setting["anyOf"], setting["default"]
        setting.update(kinds[0])
        if "const" in setting:  # a single value
            setting["enum"] = [setting.pop("const")]
        if "enum" in setting:
            setting["enum"] = [*setting["enum"], None]


def first(schema: dict[str, Any], names: Iterable[str]) -> None:
    """Move these settings of a section to its top, in this order."""
    settings = schema.get("properties", {})
    schema["properties"] = {**{name: settings[name] for name in names}, **settings}
