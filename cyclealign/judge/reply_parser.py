"""Parse a judge's reply to a ranking of exactly the requested labels, or raise an error that names the problem.

Several notations are accepted, but nothing is guessed: a reply with two different rankings is rejected. The first one
does not win, since an answer may have talked the judge into quoting a verdict.

The error messages are part of the repair prompt: new wording would change requests whose replies are stored.
"""

import json
import re
from collections.abc import Iterable, Sequence

from cyclealign.errors import UnreadableReply
from cyclealign.records import Tiers

MAX_CHARACTERS = 20_000  # a ranking is short; a longer reply is degenerate
# A numbered list with text after the labels is a ranking only if it is announced as one: it may be a review by label.
ANNOUNCED = re.compile(r"\b(rank|best|worst|order)", re.IGNORECASE)
BARE = re.compile(r"[\])\"'`*_.,;\s]*(\((best|worst)\))?\s*", re.IGNORECASE)
_AROUND = " \t\"'`*_[]()"


def read_ranking(reply: str, labels: Sequence[str]) -> Tiers:
    """Return the labels in tiers, best first, as the reply orders them.

    Accepted: ``{"ranking": [...]}`` anywhere (in a code fence, with prose around it, ties as inner lists), a reply that
    is only a JSON list, ``K7 > M3 = X9``, and a numbered list.

    Raises:
        UnreadableReply: there is no ranking, there are several different ones, or it is not a permutation of
            ``labels``; the message names the problem in words for the judge.
    """
    reply = _without_reasoning(reply)
    if len(reply) > MAX_CHARACTERS:
        raise UnreadableReply(f"The reply is {len(reply):,} characters long. Reply with the ranking alone.")
    stated = set(_stated(reply, labels))
    written = (*_chains(reply, labels), *_numbered(reply, labels))
    complete = {ranking for ranking in written if _complete(ranking, labels)}
    if len(stated | complete) > 1:
        raise UnreadableReply("The reply holds several different rankings.")
    if not stated | complete:
        raise UnreadableReply('The reply holds no {"ranking": [...]} object.')
    ranking = (stated | complete).pop()
    _check(ranking, labels)
    return ranking


def read_reasons(reply: str, labels: Sequence[str]) -> dict[str, str]:
    """Return the reply's ``"reasons"`` by label; entries of another form are left out."""
    reasons: dict[str, str] = {}
    for name, value in _members(reply):
        if name == "reasons" and isinstance(value, dict):
            reasons.update({label: text for label, text in value.items() if label in labels and isinstance(text, str)})
    return reasons


def _without_reasoning(reply: str) -> str:
    """Return the reply without a leading reasoning block: rankings considered there are not the verdict."""
    if not re.match(r"\s*<think(ing)?>", reply):
        return reply
    _, end, after = reply.partition("</think")
    if not end:
        raise UnreadableReply("The reply ends before its ranking. Think less.")
    return after.partition(">")[2]


def _check(ranking: Tiers, labels: Sequence[str]) -> None:
    named = [label for tier in ranking for label in tier]
    if unknown := [label for label in named if label not in labels]:
        raise UnreadableReply(f"The ranking names labels that were not given{_quotable(unknown)}.")
    if missing := [label for label in labels if label not in named]:
        raise UnreadableReply(f"The ranking leaves out: {', '.join(missing)}.")
    if len(named) != len(labels):
        raise UnreadableReply("The ranking names a label twice.")


def _quotable(labels: Sequence[str]) -> str:
    """Return short labels for the message, so that text which an answer made the judge write is not repeated to it."""
    short = [label for label in labels if re.fullmatch(r"\w{1,8}", label)]
    return f": {', '.join(short[:8])}" if short else ""


def _complete(ranking: Tiers, labels: Sequence[str]) -> bool:
    return sorted(label for tier in ranking for label in tier) == sorted(labels)


def _stated(reply: str, labels: Sequence[str]) -> Iterable[Tiers]:
    """Yield each list under a key ``ranking``, complete or not, and a reply that is one JSON list."""
    for name, value in _members(reply):
        if name == "ranking" and isinstance(value, list):
            yield _tiers(value, labels)
    try:
        whole = json.loads(re.sub(r"^```\w*\s*|\s*```$", "", reply.strip()))
    except (ValueError, RecursionError):
        return
    if isinstance(whole, list):
        yield _tiers(whole, labels)


def _members(reply: str) -> list[tuple[str, object]]:
    """Return the members of every JSON object that starts anywhere in the reply; duplicate keys count twice."""
    members: list[tuple[str, object]] = []

    def keep(pairs: list[tuple[str, object]]) -> dict[str, object]:
        members.extend(pairs)
        return dict(pairs)

    decoder = json.JSONDecoder(object_pairs_hook=keep)
    read_to = 0
    for match in re.finditer(r"\{", reply):
        if match.start() < read_to:
            continue  # inside an object already parsed, whose inner objects were kept with it
        before = len(members)
        try:
            _, read_to = decoder.raw_decode(reply, match.start())
        except (ValueError, RecursionError):
            del members[before:]  # complete objects inside an incomplete one are tried by themselves
    return members


def _tiers(value: list[object], labels: Sequence[str]) -> Tiers:
    return tuple(
        tuple(sorted(_label(item, labels) for item in tier)) if isinstance(tier, list) else (_label(tier, labels),)
        for tier in value
    )


def _label(value: object, labels: Sequence[str]) -> str:
    """Return the label in a text: the text itself, or the only label in it (``"Answer K7"``)."""
    text = str(value).strip(_AROUND)
    if text in labels:
        return text
    inside = [label for label in labels if re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text)]
    return inside[0] if len(inside) == 1 else text


def _chains(reply: str, labels: Sequence[str]) -> Iterable[Tiers]:
    """Yield each ``K7 > M3 = X9``: best first, ties by ``=``."""
    if not any(sign in reply for sign in (">", "≻", "=", "&gt;")):
        return  # most replies: compiling the patterns for these labels takes longer than using them
    one = rf"[\[(\"'`*]*(?<!\w)(?:{'|'.join(map(re.escape, labels))})(?!\w)[\])\"'`*]*"
    for match in re.finditer(rf"{one}(?:[ \t]*(?:>|≻|=)[ \t]*{one})+", reply.replace("&gt;", ">")):
        tiers = re.split(r">|≻", match.group())
        yield tuple(tuple(sorted(label.strip(_AROUND) for label in tier.split("="))) for tier in tiers)


def _numbered(reply: str, labels: Sequence[str]) -> Iterable[Tiers]:
    """Yield each list of lines numbered from 1, with a label at the start of each line."""
    if len(reply.splitlines()) < len(labels):
        return
    label = rf"(?:answer\s+)?[\[(\"'`*]*(?P<label>{'|'.join(map(re.escape, labels))})(?!\w)(?P<rest>.*)"
    pattern = re.compile(rf"^[ \t>*_#-]*(?P<number>\d{{1,2}})[ \t]*[.):][ \t*_]*{label}$", re.MULTILINE | re.IGNORECASE)
    lines = list(pattern.finditer(reply))
    for start in range(0, len(lines), len(labels)):
        run = lines[start : start + len(labels)]
        if sorted(int(line["number"]) for line in run) != list(range(1, len(labels) + 1)):
            continue
        bare = all(BARE.fullmatch(line["rest"]) for line in run)
        if bare or ANNOUNCED.search(reply[: run[0].start()]):
            yield tuple((line["label"],) for line in sorted(run, key=lambda line: int(line["number"])))
