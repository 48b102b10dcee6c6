"""A second look at labels: by people, by another judge, by the version of the template."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cyclealign.records.calls import Spending
from cyclealign.records.metrics import Metric
from cyclealign.records.texts import Prompt


@dataclass(frozen=True)
class Doubt:
    """A list worth a person's time, and why, in words that the person and the history are shown."""

    prompt_id: str
    why: str


@dataclass(frozen=True)
class Review:
    """A list of a round that people were asked to rank.

    ``answers`` maps the ids of the judged candidates to their texts; ``verdict`` holds those ids, best first, once a
    person has ranked them, and ``learnt`` says that the round was trained on it.
    """

    round_id: int
    experiment: str
    number: int
    prompt: Prompt
    answers: Mapping[str, str]
    why: str
    status: Literal["waiting", "answered", "skipped"]
    verdict: tuple[str, ...] | None
    learnt: bool
    asked_at: datetime


@dataclass(frozen=True)
class Rejudgement:
    """A stored round put to another judge, template or set of demonstrations, and how its verdicts differed.

    ``id`` is a hash of the requests; ``flips`` and ``tau`` are means over ``lists`` (flips None: no pair was decided
    both times), ``pairs`` the pairs decided both times, ``unread`` the lists without a verdict of the other judge,
    ``cost`` what its requests have cost.
    """

    id: str
    round_id: int
    model: str
    template_hash: str
    demonstrations: str
    lists: int
    unread: int
    pairs: int
    flips: Metric | None
    tau: Metric
    cost: Spending


@dataclass(frozen=True)
class LabelVersion:
    """The version (hash) of a template that made ``labels`` rankings of a round, and the folder it came from."""

    experiment: str
    number: int
    folder: str
    version: str
    labels: int
