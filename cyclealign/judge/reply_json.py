"""Read the JSON in a reply, also JSON5 (comments, single quotes, trailing commas). Nothing cut off is completed."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

import json5

from cyclealign.errors import UnreadableReply

# A reply with reasons is three levels deep. The limit keeps the parsers from running out of stack.
MAX_DEPTH = 30
# The JSON5 parser takes up to 0.1 ms a character: it gets few attempts, at no more than a reply with reasons takes.
MAX_TOLERANT, MAX_TOLERANT_CHARACTERS = 4, 6_000
_LIKE_OBJECT = re.compile(r"\{\s*(?:/[/*]|[\"']|[^\W\d]\w*\s*:)")
_FENCE = re.compile(r"^```\w*\s*|\s*```$")


@dataclass(frozen=True)
class JsonObject:
    """The members of one outermost object, those of inner objects included, and its place in the reply.

    ``strict`` is False for JSON5, which may hold comments.
    """

    members: tuple[tuple[str, object], ...]
    start: int
    end: int
    strict: bool = True


def outermost_objects(reply: str) -> list[JsonObject]:
    """Return every JSON object in the reply; of an object that is cut off, the complete objects in it.

    Raises:
        UnreadableReply: brackets are nested too deeply, or too many pieces are almost JSON.
    """
    check_depth(reply)
    objects: list[JsonObject] = []
    tolerant = read_to = 0
    for match in re.finditer(r"\{", reply):
        start = match.start()
        if start < read_to:
            continue  # inside an object already parsed, whose inner objects were kept with it
        parsed = _strict(reply, start)
        if parsed is None and _LIKE_OBJECT.match(reply, start):
            tolerant += 1
            if tolerant > MAX_TOLERANT:
                raise UnreadableReply("The reply holds too many pieces of broken JSON.")
            parsed = _tolerant(reply, start)
        if parsed is not None:
            objects.append(parsed)
            read_to = parsed.end
    return objects


def whole_value(reply: str) -> object:
    """Return the value of a reply that is one JSON text, in a code fence or not; None if it is not."""
    check_depth(reply)
    text = _FENCE.sub("", reply.strip())
    try:
        return json.loads(text)
    except ValueError:
        pass
    if not text.startswith("[") or len(text) > MAX_TOLERANT_CHARACTERS:
        return None  # objects are found by `outermost_objects`
    value, error, _ = json5.parse(text)
    return None if error else value


def unwrapped(reply: str) -> str:
    """Return the text in a reply that is one JSON string, which some endpoints encode twice; else the reply."""
    for _ in range(3):
        text = _FENCE.sub("", reply.strip())
        if not text.startswith('"'):
            break
        try:
            value = json.loads(text)
        except ValueError:
            break
        if not isinstance(value, str):
            break
        reply = value
    return reply


def check_depth(reply: str) -> None:
    """Raise UnreadableReply if brackets are nested deeper than any ranking needs."""
    depth = 0
    for bracket in re.findall(r"[\[{}\]]", reply):
        depth = depth + 1 if bracket in "[{" else max(depth - 1, 0)
        if depth > MAX_DEPTH:
            raise UnreadableReply("The reply's JSON is nested too deeply.")


def _strict(reply: str, start: int) -> JsonObject | None:
    members: list[tuple[str, object]] = []

    def keep(pairs: list[tuple[str, object]]) -> dict[str, object]:
        members.extend(pairs)  # duplicate keys count twice
        return dict(pairs)

    try:
        _, end = json.JSONDecoder(object_pairs_hook=keep).raw_decode(reply, start)
    except ValueError:
        return None
    return JsonObject(tuple(members), start, end)


def _tolerant(reply: str, start: int) -> JsonObject | None:
    members: list[tuple[str, object]] = []

    def keep(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
        inner = list(pairs)
        members.extend(inner)
        return dict(inner)

    piece = reply[start : start + MAX_TOLERANT_CHARACTERS]
    value, error, length = json5.parse(piece, consume_trailing=False, object_pairs_hook=keep)
    if error or not isinstance(value, dict):
        return None
    return JsonObject(tuple(members), start, start + length, strict=False)
