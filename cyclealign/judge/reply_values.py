"""Interpret the values in a reply's JSON: rankings under their keys, ranks and scores by label."""

import re
from collections.abc import Iterable, Mapping, Sequence

from cyclealign.errors import UnreadableReply
from cyclealign.judge import direction_words as words
from cyclealign.judge.reply_labels import WORD, WRAPPING, Labels
from cyclealign.judge.reply_lists import consistent_scores
from cyclealign.records import Tiers

UNCLEAR_NUMBERS = "The numbers beside the labels are not their places in the ranking, from 1 for the best."
UNCLEAR_KEY = 'The ranking is under a key that does not say that it is from best to worst. Use the key "ranking".'
_RANK = frozenset("rank ranks ranking rankings".split())
_PLAIN_KEY = _RANK | frozenset("final my the overall of answers labels".split())
_BEST_FIRST = re.compile(r"\b(?:from )?best (?:to worst|first)\b")
_SCORES = frozenset("score scores rating ratings grade grades points marks".split())
_PLACES = frozenset("rank ranks place places position positions".split())
# Lists of labels that are no ranking: the answers as they were shown.
_SHOWN = frozenset("labels label answers candidates items options shown ids responses".split())
_TOP = frozenset("best winner top first chosen preferred favorite favourite choice selected verdict".split())
_BOTTOM = frozenset("worst bottom last rejected loser".split())
_ORDER = frozenset("order ordering ordered direction sort sorted sorting sequence arrangement scale".split())

# An item such as ``1. Answer K7: a remark``.
_ITEM = re.compile(
    r"(?:#?(?P<number>\d{1,2})\W{1,3})?\W{0,3}(?i:(?:the\s+)?(?:answer|label|candidate|response|option)\s+)?"
    rf"\W{{0,3}}(?P<label>{WORD})(?P<rest>.*)",
    re.DOTALL,
)

Members = Sequence[tuple[str, object]]


def key_words(key: str) -> str:
    """Return the key's words in lower case, separated by spaces: ``rankingBestFirst`` as "ranking best first"."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key)
    return " ".join(re.findall(r"[^\W_]+", split)).casefold()


def is_ranking_key(key: str) -> bool:
    """Return whether the value under the key is a ranking, best first."""
    spoken = set(_BEST_FIRST.sub("", key_words(key)).split())
    return bool(spoken & _RANK) and spoken <= _PLAIN_KEY


def tiers_of(value: object, labels: Labels) -> Tiers | None:
    """Return the ranking that a value under a ranking key states; None if it states none.

    Unknown labels are kept as they are, for the error message.

    Raises:
        UnreadableReply: numbers in the value contradict its order, or are not places.
    """
    if isinstance(value, list):
        _check_list(value, labels)
        return tuple(_tier(item, labels) for item in value)
    if isinstance(value, dict):
        return _from_map(value, labels)
    if isinstance(value, str):
        names = [labels.canonical(part.strip(WRAPPING)) for part in re.split(r"[,;、，]", value)]
        return tuple((name,) for name in names if name) if len(names) > 1 and all(names) else None
    return None


def _tier(item: object, labels: Labels) -> tuple[str, ...]:
    return tuple(sorted(_label(each, labels) for each in item)) if isinstance(item, list) else (_label(item, labels),)


def _label(item: object, labels: Labels) -> str:
    """Return the label that an item names, else its text."""
    if isinstance(item, dict):
        named = [
            name
            for value in item.values()
            if isinstance(value, str) and (name := labels.canonical(value.strip(WRAPPING)))
        ]
        named += [name for key in item if (name := labels.canonical(key.strip(WRAPPING)))]
        return named[0] if len(named) == 1 else "?" * 9
    text = str(item).strip(WRAPPING)
    if name := labels.canonical(text):
        return name
    match = _ITEM.match(text)
    alone = match and len(labels.inside(text)) == 1
    return (labels.canonical(match["label"]) or text) if match and alone else text


def _check_list(items: Sequence[object], labels: Labels) -> None:
    """Raise UnreadableReply if the items carry numbers that contradict their order."""
    matches = [_ITEM.match(str(item).strip(WRAPPING)) for item in items if isinstance(item, str)]
    heads = [int(match["number"]) for match in matches if match and match["number"]]
    if heads and heads != list(range(1, len(items) + 1)):
        raise UnreadableReply(UNCLEAR_NUMBERS)
    if len(matches) == len(items) and not consistent_scores([match["rest"] if match else "" for match in matches]):
        raise UnreadableReply(UNCLEAR_NUMBERS)
    for places, numbers in _numbers(items, labels):
        values = [number for _, number in numbers]
        if values != (list(range(1, len(items) + 1)) if places else sorted(values, reverse=True)):
            raise UnreadableReply(UNCLEAR_NUMBERS)


def _from_map(value: Mapping[str, object], labels: Labels) -> Tiers | None:
    """Return the ranking in a map from label to place, or from place to label."""
    if value and all(re.fullmatch(r"\d{1,3}", key) for key in value):
        value = {name: int(key) for key, name in value.items() if isinstance(name, str)}
    places = {label: number for key, number in value.items() if (label := labels.canonical(key.strip(WRAPPING)))}
    if not places:
        return None
    if len(places) != len(value) or sorted(map(_number, places.values())) != list(range(1, len(value) + 1)):
        raise UnreadableReply(UNCLEAR_NUMBERS)
    return tuple((label,) for label in sorted(places, key=lambda label: _number(places[label])))


def _number(value: object) -> float:
    """Return the number, also one written as text; -1 for anything else."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,3}\s*", value):
        return int(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else -1


def contradicts(members: Members, ranking: Tiers, labels: Labels) -> str:
    """Return the problem if other members of the reply's JSON contradict the ranking; else an empty text."""
    place = {label: number for number, tier in enumerate(ranking) for label in tier}
    for key, value in members:
        if not is_ranking_key(key) and (problem := _contradiction(key_words(key), value, place, labels)):
            return problem
    for places, numbers in _scores(members, labels):
        values = [number for _, number in sorted(numbers, key=lambda pair: place[pair[0]])]
        if values != sorted(values, reverse=not places):
            return UNCLEAR_NUMBERS
    return ""


def _contradiction(key: str, value: object, place: Mapping[str, int], labels: Labels) -> str:
    """Return the problem with one member beside the ranking; its ``key`` is given as words."""
    spoken = set(key.split())
    if spoken & _RANK and _names_labels(value, labels):
        return UNCLEAR_KEY
    if isinstance(value, list):
        other = not spoken & _SHOWN and _other_order(value, place, labels)
        return "The reply holds several different rankings." if other else ""
    if isinstance(value, int | float):
        return "" if _plain_number(key, value) else UNCLEAR_KEY
    if isinstance(value, str):
        label = labels.canonical(value.strip(WRAPPING))
        if label and not _agrees(key, place[label], 1 + max(place.values())):
            return "The reply names an answer under a key that contradicts its ranking, or is not clear."
        if spoken & _ORDER and not label and not _BEST_FIRST.search(key_words(value)):
            return UNCLEAR_KEY
    return ""


def _plain_number(key: str, value: float) -> bool:
    """Return whether a number or true value says nothing about the direction of the list, or "best first"."""
    spoken = key.split()
    named = (words.BEST, words.WORST, words.FIRST, words.LAST, words.TURNED, words.RISING, words.FALLING)
    return not any(word in group for word in spoken for group in named) or (
        bool(_BEST_FIRST.search(key)) and value is True
    )


def _agrees(key: str, place: int, places: int) -> bool:
    """Return whether an answer at this place, from 0, may stand alone under the key, such as "best" or "rank 4"."""
    spoken = set(key.split())
    if spoken & _SHOWN or spoken <= {"id", "name"}:
        return True
    if numbers := re.findall(r"\d+", key):
        return [str(place + 1)] == numbers and not spoken & {"last", "bottom", "worst"}
    if spoken & _TOP:
        return place == 0 and not spoken & _BOTTOM
    return bool(spoken & _BOTTOM) and place == places - 1


def _names_labels(value: object, labels: Labels) -> bool:
    """Return whether the value is a list of labels, or a map from labels to numbers."""
    if isinstance(value, list):
        return sum(isinstance(item, str) and labels.canonical(item.strip(WRAPPING)) is not None for item in value) > 1
    if isinstance(value, dict):
        return sum(labels.canonical(key) is not None and _number(number) >= 0 for key, number in value.items()) > 1
    return isinstance(value, str) and len(labels.inside(value)) == len(labels.shown)


def _other_order(value: Sequence[object], place: Mapping[str, int], labels: Labels) -> bool:
    names = [labels.canonical(item.strip(WRAPPING)) for item in value if isinstance(item, str)]
    listed = [name for name in names if name]
    if len(listed) != len(value) or sorted(listed) != sorted(place):
        return False
    places = [place[name] for name in listed]
    return places != sorted(places)


def _scores(members: Members, labels: Labels) -> Iterable[tuple[bool, list[tuple[str, float]]]]:
    """Yield (whether they are places, the (label, number) pairs) for each member that gives ranks or scores."""
    for key, value in members:
        spoken = set(key_words(key).split())
        if isinstance(value, dict) and spoken & (_SCORES | _PLACES) and not is_ranking_key(key):
            pairs = [(name, _number(number)) for label, number in value.items() if (name := labels.canonical(label))]
            yield bool(spoken & _PLACES), [pair for pair in pairs if pair[1] >= 0]
        if isinstance(value, list):
            yield from _numbers(value, labels)
        if isinstance(value, dict):
            rows = [{"label": label, **row} for label, row in value.items() if isinstance(row, dict)]
            yield from _numbers(rows, labels)


def _numbers(items: Sequence[object], labels: Labels) -> Iterable[tuple[bool, list[tuple[str, float]]]]:
    """Yield the same for a list of objects such as ``{"label": "K7", "rank": 1}``."""
    rows = [item for item in items if isinstance(item, dict)]
    for places, group in ((True, _PLACES), (False, _SCORES)):
        pairs = [
            (name, _number(number))
            for row in rows
            for key, number in row.items()
            if set(key_words(key).split()) & group and (name := labels.canonical(_label(row, labels)))
        ]
        if pairs:
            yield places, [pair for pair in pairs if pair[1] >= 0]
    bare = [
        (name, _number(number))
        for row in rows
        if len(row) == 1
        for key, number in row.items()
        if (name := labels.canonical(key))
    ]
    if bare and any(number >= 0 for _, number in bare):
        yield True, bare
