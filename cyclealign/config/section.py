"""Base class of all groups of settings."""

from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from cyclealign.config.former_names import allow_former_names, current_names


class Section(BaseModel):
    """A group of settings; an unknown key is an error, as is a number that is not finite.

    Settings marked with `Formerly` also load under their former names and values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _under_current_names(cls, given: Any) -> Any:
        return current_names(cls, given)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        made = handler(schema)
        allow_former_names(cls, handler.resolve_ref_schema(made))
        return made
