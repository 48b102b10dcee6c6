"""The base class of all tables, column types and keys."""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    MetaData,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import TypeDecorator

from cyclealign.text import storable_text


class Utc(TypeDecorator[datetime]):
    """A time in UTC. SQLite stores no time zone, so it is dropped on writing and restored on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class AnyText(TypeDecorator[str]):
    """Text that a model may have written: characters that databases reject (NUL, lone surrogates) become U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable_text(value)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        str: AnyText,
        float: Double,
        datetime: Utc,
        list[Any]: JSON(none_as_null=True),
        dict[str, Any]: JSON(none_as_null=True),
    }


Key = Annotated[int, mapped_column(primary_key=True)]
Id = Annotated[str, mapped_column(primary_key=True)]
ExperimentKey = Annotated[int, mapped_column(ForeignKey("experiment.id"))]
RoundKey = Annotated[int, mapped_column(ForeignKey("round.id"))]
RoundPart = Annotated[int, mapped_column(ForeignKey("round.id"), primary_key=True)]
PromptKey = Annotated[str, mapped_column(ForeignKey("prompt.id"), index=True)]
DemonstrationPart = Annotated[str, mapped_column(ForeignKey("demonstration.id"), primary_key=True, index=True)]
BigNumber = Annotated[int, mapped_column(BigInteger)]


def one_of(column: str, *values: str) -> CheckConstraint:
    """Return a check that the column holds one of these values."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


def of_the_round() -> ForeignKeyConstraint:
    """Return a key that restricts candidates, rankings and agreements to prompts that the round drew."""
    return ForeignKeyConstraint(["round_id", "prompt_id"], ["round_prompt.round_id", "round_prompt.prompt_id"])
