"""Parse a judge's reply to a ranking of exactly the requested labels, or raise an error that names the problem.

Many notations are accepted, but nothing is guessed: a reply with two different rankings is rejected. The first one
does not win, since an answer may have talked the judge into quoting a verdict. A ranking is best first, as the request
says; if the reply names another direction, it is turned round where that is certain, and unreadable elsewhere.

The error messages are part of the repair prompt: new wording would change requests whose replies are stored.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cyclealign.errors import UnreadableReply
from cyclealign.judge.reply_announcement import Heading, Page
from cyclealign.judge.reply_direction import Direction, Signal, claims, signals
from cyclealign.judge.reply_json import outermost_objects, unwrapped, whole_value
from cyclealign.judge.reply_labels import Labels
from cyclealign.judge.reply_lists import NOTATIONS, Written, chains
from cyclealign.judge.reply_tokens import tokens
from cyclealign.judge.reply_values import UNCLEAR_NUMBERS, Members, contradicts, is_ranking_key, key_words, tiers_of
from cyclealign.records import Tiers
from cyclealign.text import HIDDEN

MAX_CHARACTERS = 20_000  # a ranking is short; a longer reply is degenerate
UNCLEAR_DIRECTION = "The reply names an order other than from best to worst, or one that is not clear."
# A numbered list with text after the labels is a ranking only if it is announced as one: it may be a review by label.
ANNOUNCED = re.compile(r"\b(rank|best|worst|order)", re.IGNORECASE)
_THOUGHT = r"think|thinking|thought|reasoning"
_OPENING = re.compile(rf"\s*(?:<(?:{_THOUGHT})>|\[THINK\])")
_CLOSING = re.compile(rf"</(?:{_THOUGHT})[^<>\n]{{0,20}}>|\[/THINK\]")
_SIGNS = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "〉": ">", "〈": "<", "﹥": ">", "﹤": "<"})
_RANKING_KEY = re.compile(r"(?<!\\)[\"']ranking[\"']\s*:", re.IGNORECASE)


@dataclass(frozen=True)
class _Reading:
    """One ranking found in a reply, best first; a ``problem`` makes the reply unreadable."""

    tiers: Tiers
    problem: str = ""
    used: tuple[Signal, ...] = ()


def read_ranking(reply: str, labels: Sequence[str]) -> Tiers:
    """Return the labels in tiers, best first, as the reply orders them.

    Accepted: ``{"ranking": [...]}`` anywhere (in a code fence, with prose around it, as JSON5, ties as inner lists, as
    a map from label to place or a comma list), a reply that is only a JSON list, ``K7 > M3 = X9``, a numbered list, a
    table with places, and bullets that are announced as best or worst first.

    Raises:
        UnreadableReply: there is no ranking, there are several different ones, it is not a permutation of ``labels``,
            or the reply does not say clearly which end is the best; the message names the problem for the judge.
    """
    if plain := _exact(reply, labels):
        return plain
    known = Labels(labels)
    reply = unwrapped(_without_reasoning(reply))
    text = unicodedata.normalize("NFKC", HIDDEN.sub("", reply.replace("&gt;", ">").replace("&lt;", "<"))).translate(
        _SIGNS
    )
    if max(len(reply), len(text)) > MAX_CHARACTERS:
        raise UnreadableReply(f"The reply is {len(reply):,} characters long. Reply with the ranking alone.")
    page = Page(text, known)
    members, stated = _stated(page, reply, known)
    readings = [*stated, *_written(page, known)]
    if readings:
        readings += _rising(page, known)
    ranking = _single(readings, labels)
    _check(ranking, labels)
    _check_direction(page, readings, ranking, members, known)
    return ranking


def _exact(reply: str, labels: Sequence[str]) -> Tiers | None:
    """Return the ranking of a reply in the form requested and nothing else, as most are; None for any other reply."""
    if not reply.lstrip().startswith("{") or len(reply) > MAX_CHARACTERS or reply.count("{") > 1:
        return None
    try:
        pairs = json.loads(reply, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    if [key for key, _ in pairs] != ["ranking"] or not isinstance(pairs[0][1], list):
        return None
    tiers = tuple(tuple(sorted(map(str, tier))) if isinstance(tier, list) else (str(tier),) for tier in pairs[0][1])
    return tiers if _complete(tiers, labels) else None


def read_reasons(reply: str, labels: Sequence[str]) -> dict[str, str]:
    """Return the reply's ``"reasons"`` by label; entries of another form are left out."""
    known = Labels(labels)
    reasons: dict[str, str] = {}
    for found in outermost_objects(unwrapped(_without_reasoning(reply))):
        for name, value in found.members:
            if key_words(name) == "reasons" and isinstance(value, dict):
                named = ((known.canonical(label), text) for label, text in value.items())
                reasons.update({label: text for label, text in named if label and isinstance(text, str)})
    return reasons


def _without_reasoning(reply: str) -> str:
    """Return the reply without a leading reasoning block: rankings considered there are not the verdict.

    The opening tag may be missing, as some chat templates add it to the prompt. Then the closing tag must begin or end
    its line: an answer that is quoted in a verdict may hold such a tag, too.
    """
    if _OPENING.match(reply):
        closing = _CLOSING.search(reply)
        if closing is None:
            raise UnreadableReply("The reply ends before its ranking. Think less.")
        return reply[closing.end() :]
    closings = list(_CLOSING.finditer(reply))
    if not closings:
        return reply
    before, after = reply[: closings[-1].start()], reply[closings[-1].end() :]
    at_line_start = not before.rpartition("\n")[2].strip() and "\n" in before
    return after if at_line_start or not after.partition("\n")[0].strip() else reply


def _stated(page: Page, reply: str, labels: Labels) -> tuple[Members, list[_Reading]]:
    """Return the members of the reply's JSON and the rankings in it, complete or not.

    Signs in their wide forms are read as JSON, too, but they may also break it, so both texts are tried.
    """
    members: list[tuple[str, object]] = []
    readings: list[_Reading] = []
    for text in dict.fromkeys((reply, page.text)):
        for found in outermost_objects(text):
            members += found.members
            problem = "" if text != page.text or page.json_is_plain(found) else UNCLEAR_DIRECTION
            readings += [
                _Reading(tiers, problem)
                for name, value in found.members
                if is_ranking_key(name) and (tiers := tiers_of(value, labels)) is not None
            ]
        whole = whole_value(text)
        if isinstance(whole, list):
            readings.append(_Reading(tiers_of(whole, labels) or ()))
    return members, readings


def _written(page: Page, labels: Labels) -> Iterator[_Reading]:
    """Yield the complete rankings that are written without JSON, turned round if announced as worst first."""
    for notation in NOTATIONS:
        for written in notation(page, labels):
            if not _complete(written.tiers, labels.shown):
                continue
            heading = page.heading(written.start)
            announced = heading.direction or ANNOUNCED.search(page.text[: written.start])
            if written.introduced == "ranking" and not announced:
                continue
            if heading.direction is not None or (written.introduced != "direction" and written.sign != "<"):
                yield _oriented(written, heading)


def _rising(page: Page, labels: Labels) -> Iterator[_Reading]:
    """Yield each complete ``B2 < K7`` that is not announced: on its own it may mean either, beside others it counts."""
    for written in chains(page, labels):
        if written.sign == "<" and _complete(written.tiers, labels.shown) and not page.heading(written.start).direction:
            yield _Reading(written.tiers[::-1])


def _oriented(written: Written, heading: Heading) -> _Reading:
    """Return the ranking best first, as its heading and its own notation say, or with the problem of the two."""
    turned = written.tiers[::-1]
    tiers = written.by_number or written.tiers
    problem = "" if written.agrees else UNCLEAR_NUMBERS
    if heading.direction is Direction.WORST_FIRST:
        certain = heading.plain and written.turnable and written.by_number in (None, turned)
        return _Reading(turned, problem or ("" if certain else UNCLEAR_DIRECTION), heading.signals)
    if not heading.understood or heading.direction is Direction.UNKNOWN:
        problem = problem or UNCLEAR_DIRECTION
    if heading.direction is Direction.BEST_FIRST and (written.by_number is not None or written.sign == "<"):
        problem = problem or UNCLEAR_DIRECTION
    return _Reading(tiers, problem or ("" if heading.ending_is_plain(written.end) else UNCLEAR_DIRECTION))


def _single(readings: Sequence[_Reading], labels: Sequence[str]) -> Tiers:
    """Return the one ranking that all readings give."""
    rankings = {reading.tiers for reading in readings}
    if len(rankings) > 1:
        raise UnreadableReply("The reply holds several different rankings.")
    if not rankings:
        raise UnreadableReply('The reply holds no {"ranking": [...]} object.')
    return rankings.pop()


def _check(ranking: Tiers, labels: Sequence[str]) -> None:
    named = [label for tier in ranking for label in tier]
    if unknown := [label for label in named if label not in labels]:
        raise UnreadableReply(f"The ranking names labels that were not given{_quotable(unknown)}.")
    if missing := [label for label in labels if label not in named]:
        raise UnreadableReply(f"The ranking leaves out: {', '.join(missing)}.")
    if len(named) != len(labels):
        raise UnreadableReply("The ranking names a label twice.")


def _check_direction(
    page: Page, readings: Sequence[_Reading], ranking: Tiers, members: Members, labels: Labels
) -> None:
    """Raise UnreadableReply if anything in the reply says that the ranking is not best first."""
    for problem in filter(None, (reading.problem for reading in readings)):
        raise UnreadableReply(problem)
    used = {signal for reading in readings for signal in reading.used}
    if any(signal.direction is not Direction.BEST_FIRST and signal not in used for signal in page.signals):
        raise UnreadableReply(UNCLEAR_DIRECTION)
    for key in {key for key, _ in members}:
        if any(signal.direction is not Direction.BEST_FIRST for signal in signals(tokens(key_words(key), labels), 0)):
            raise UnreadableReply(UNCLEAR_DIRECTION)
    for claim in claims(page.row, page.signals):
        if claim.label not in (ranking[0] if claim.best else ranking[-1]):
            raise UnreadableReply("The reply calls an answer the best or the worst, and its ranking does not.")
    if problem := contradicts(members, ranking, labels):
        raise UnreadableReply(problem)
    if len(_RANKING_KEY.findall(page.text)) > sum(key_words(key) == "ranking" for key, _ in members):
        raise UnreadableReply("The reply holds a second ranking that is not complete JSON.")


def _quotable(labels: Sequence[str]) -> str:
    """Return short labels for the message, so that text which an answer made the judge write is not repeated to it."""
    short = [label for label in labels if re.fullmatch(r"\w{1,8}", label)]
    return f": {', '.join(short[:8])}" if short else ""


def _complete(ranking: Tiers, labels: Sequence[str]) -> bool:
    return sorted(label for tier in ranking for label in tier) == sorted(labels)
