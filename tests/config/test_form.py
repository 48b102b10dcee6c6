"""The form's JSON schema: optional settings are plain fields, in an order to fill in, and old parameters stay valid."""

from collections.abc import Iterator
from typing import Any

import pytest
from prefect.utilities.schema_tools.validation import is_valid, validate

from cyclealign.config import ExperimentConfig, Section
from cyclealign.distill.registry import JOBS

MODELS: list[type[Section]] = [ExperimentConfig, *(spec.config_model() for spec in JOBS.values())]


def settings_of(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for section in (schema, *schema.get("$defs", {}).values()):
        yield from section.get("properties", {}).items()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__module__)
def test_an_optional_setting_is_a_plain_field(model: type[Section]) -> None:
    """Prevents a switch that reads 'Property is type "None"' where the setting has a default."""
    simple = {"string", "integer", "number", "boolean"}
    for name, setting in settings_of(model.model_json_schema()):
        kinds = [kind.get("type") for kind in setting.get("anyOf", ())]
        assert not ("null" in kinds and simple & set(kinds) and len(kinds) == 2), name


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__module__)
def test_parameters_that_hold_null_and_those_that_hold_the_default_stay_valid(model: type[Section]) -> None:
    """Prevents a schedule, stored with every setting, that the server refuses after the form was changed."""
    schema = model.model_json_schema()
    stored = model().model_dump(mode="json")
    assert [error.message for error in validate(stored, _as_prefect_keeps(schema))] == []


def test_a_value_out_of_range_is_still_refused_by_the_form() -> None:
    """Prevents a form that takes anything for a setting that may be empty."""
    schema = _as_prefect_keeps(ExperimentConfig.model_json_schema())
    assert is_valid({"training": {"weight": None}, "until": None}, schema)
    for wrong in ({"until": 0}, {"until": "five"}, {"training": {"weight": "heavy"}}, {"budget": {"usd": -1}}):
        assert not is_valid(wrong, schema), wrong


def test_a_setting_that_is_not_empty_by_default_can_be_emptied_by_a_word() -> None:
    """Prevents a form in which a judge's temperature cannot be left to its provider."""
    schema = _as_prefect_keeps(ExperimentConfig.model_json_schema())
    for given in ("none", 0.5):
        assert is_valid({"judge": {"temperature": given}}, schema)
    for wrong in ("hot", 3):
        assert not is_valid({"judge": {"temperature": wrong}}, schema)


def test_the_form_begins_with_the_settings_that_every_experiment_sets() -> None:
    """Prevents a model's name that stands below twenty settings of an engine."""
    schema = ExperimentConfig.model_json_schema()
    assert list(schema["properties"])[:6] == ["experiment", "rounds", "prompts", "policy", "judge", "budget"]
    first = {name: list(schema["$defs"][name]["properties"]) for name in ("PolicySettings", "TrainingSettings")}
    assert first["PolicySettings"][0] == "model"
    assert "learning_rate" in first["TrainingSettings"][:2]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__module__)
def test_every_setting_has_a_title(model: type[Section]) -> None:
    """Prevents a raw snake_case name in the form."""
    for name, setting in settings_of(model.model_json_schema()):
        assert "title" in setting or "$ref" in setting, name


def _as_prefect_keeps(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with the key under which Prefect keeps nested models."""
    return {**_with_definitions(schema), "definitions": _with_definitions(schema["$defs"])}


def _with_definitions(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_definitions(part) for key, part in value.items() if key != "$defs"}
    if isinstance(value, list):
        return [_with_definitions(part) for part in value]
    return value.replace("#/$defs/", "#/definitions/") if isinstance(value, str) else value
