"""Base class of all groups of settings."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from cyclealign.config import form
from cyclealign.config.former_names import allow_former_names, current_names


class Section(BaseModel):
    """A group of settings; unknown keys and numbers that are not finite are errors.

    Settings marked with `Formerly` also load under their former names and values.
    """

    # Settings that the form shows before the others, in this order.
    form_first: ClassVar[tuple[str, ...]] = ()

    # Errors do not repeat the value: it may be a key in a place where none belongs.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _under_current_names(cls, given: Any) -> Any:
        return current_names(cls, given)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json_schema = handler(schema)
        properties = handler.resolve_ref_schema(json_schema)
        allow_former_names(cls, properties)
        form.without_null(properties)
        form.first(properties, cls.form_first)
        return json_schema
