"""Rankings examined again: human reviews, rejudged rounds, and template versions behind labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cyclealign.records.calls import Spending
from cyclealign.records.metrics import Metric
from cyclealign.records.texts import Prompt


@dataclass(frozen=True)
class Doubt:
    """A list to send to reviewers, and the reason, as shown to them and in the history."""

    prompt_id: str
    why: str


@dataclass(frozen=True)
class Review:
    """A list of a round that was sent to reviewers.

    ``answers`` maps the ids of the judged candidates to their texts; ``verdict`` holds those ids, best first, once a
    person has ranked them; ``learnt``: the round was trained on the verdict.
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
    """A stored round judged again by another judge, template or set of demonstrations, compared with its own labels.

    ``id`` is a hash of the requests; ``flips`` and ``tau`` are means over ``lists`` (flips None: no pair was decided
    both times); ``pairs`` counts the pairs decided both times, ``unread`` the lists without a readable new verdict;
    ``cost`` is that of its requests.
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
class Ranker:
    """A judge behind a ranking: the model asked, the model that the endpoint reports, and the template's hash."""

    model: str
    returned_model: str | None
    template_hash: str


@dataclass(frozen=True)
class TemplateTrial:
    """A closed round that used a version of a template: its number, the reason of its verdict, and its judge."""

    number: int
    reason: str
    judge_model: str
    accuracy: Metric | None  # on labelled lists; None: not measured


@dataclass(frozen=True)
class LabelVersion:
    """The template version (hash) behind the ``labels`` rankings of a round, and the folder of the template."""

    experiment: str
    number: int
    folder: str
    version: str
    labels: int
