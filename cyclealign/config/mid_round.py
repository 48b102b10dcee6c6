"""Settings that may change while a round is open; each is marked on its field."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from cyclealign.config.former_names import models_of
from cyclealign.config.section import Section

S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class _ChangeableMidRound:
    pass


# Marks a setting, or a whole section, that an open round reads anew in each run: ``retries: Annotated[int,
# CHANGEABLE_MID_ROUND] = 5``. It must change neither the requests to the judge nor what is trained or measured: the
# round's stored rows were made under the former value.
CHANGEABLE_MID_ROUND = _ChangeableMidRound()


def with_current(opened: S, current: S) -> S:
    """Return ``opened`` with the current values of its changeable settings, nested sections included."""
    update: dict[str, object] = {}
    for name, field in type(opened).model_fields.items():
        before, now = getattr(opened, name), getattr(current, name)
        if CHANGEABLE_MID_ROUND in field.metadata:
            update[name] = now
        elif isinstance(before, Section):
            update[name] = with_current(before, now)
    return opened.model_copy(update=update)


def changeable_settings(model: type[Section], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of the changeable settings; a section that is changeable as a whole is one name."""
    for name, field in model.model_fields.items():
        if CHANGEABLE_MID_ROUND in field.metadata:
            yield f"{prefix}{name}"
            continue
        for section in models_of(field.annotation):
            if issubclass(section, Section):
                yield from changeable_settings(section, f"{prefix}{name}.")
