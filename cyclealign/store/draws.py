"""Draws from prompt sets in an order that a seed gives, a few rows at a time, whatever the size of the set.

The order follows from the seed and the ids of the prompts, which are hashes of their content. A large set is cut into
slices by the first digits of the ids; the slices are drawn from in an order of their own, so that a draw reads one or
two of them. In a set of one slice, as all small ones are, the order is one of the whole set.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.records import content_id
from cyclealign.store.prompts import drawn, known_set, prompt_record
from cyclealign.store.repository import Repository
from cyclealign.store.statements import in_parts

Item = TypeVar("Item")
MAX_SLICE = 10_000  # prompts; hashing and sorting their ids takes some 50 ms
AT_ONCE = 250  # prompts whose rows are read together
HEX = "0123456789abcdef"


class DrawStore(Repository):
    """Draws of prompts for the rounds of experiments."""

    def unused(self, set_name: str, experiment: str, seed: int, number: int) -> Iterator[records.Prompt]:
        """Yield the train prompts that no round of the experiment has used, in the order of seed and number.

        Args:
            number: the number from which the round's seeds follow: a round that repeats an abandoned one has the same.

        Raises:
            NoSuchExperiment: there is no such set.
        """
        return self._in_order(set_name, "train", (seed, number), seed, experiment)

    def held_out(self, set_name: str, seed: int) -> Iterator[records.Prompt]:
        """Yield the held-out prompts of a set in the order of the seed: the same in every round.

        Raises:
            NoSuchExperiment: there is no such set.
        """
        return self._in_order(set_name, "held_out", (seed,), seed, None)

    def _in_order(
        self, set_name: str, split: records.Split, origin: Sequence[int], seed: int, experiment: str | None
    ) -> Iterator[records.Prompt]:
        set_id, size = self._patiently(lambda session: _id_and_size(session, set_name))
        for prefix in slices(size, origin):
            ids = self._patiently(partial(_members, set_id=set_id, split=split, prefix=prefix))
            ids.sort(key=lambda prompt_id: content_id("draw", seed, prompt_id))
            for part in in_parts(ids, AT_ONCE):
                yield from self._patiently(partial(_unused, ids=part, experiment=experiment))

    def _patiently(self, read: Callable[[Session], Item]) -> Item:
        """Read in a transaction of its own, again if the database is away: a generator is no unit of work."""

        def unit() -> Item:
            with self._database.reading() as session:
                return read(session)

        return self._database.patience.repeat(unit)


def slices(size: int, origin: Sequence[int]) -> list[str]:
    """Return the prefixes of ids that cut a set into slices of at most some `MAX_SLICE` prompts, in a seeded order.

    Args:
        size: number of prompts of the set.
        origin: the values that give the order.
    """
    digits = 0
    while size > MAX_SLICE * len(HEX) ** digits:
        digits += 1
    prefixes = ["".join(each) for each in product(HEX, repeat=digits)]
    return sorted(prefixes, key=lambda prefix: content_id("slice", *origin, prefix))


def _members(session: Session, set_id: int, split: records.Split, prefix: str) -> list[str]:
    member = tables.PromptSetMember
    query = select(member.prompt_id).where(member.prompt_set_id == set_id, member.split == split)
    if prefix:  # "g" is the first letter after the digits
        query = query.where(member.prompt_id >= prefix, member.prompt_id < f"{prefix}g")
    return list(session.scalars(query))


def _unused(session: Session, ids: Sequence[str], experiment: str | None) -> list[records.Prompt]:
    """Return these prompts in this order, without those that the experiment has used."""
    used: set[str] = set()
    if experiment is not None:
        used = set(session.scalars(drawn(experiment).where(tables.RoundPrompt.prompt_id.in_(ids))))
    left = [prompt_id for prompt_id in ids if prompt_id not in used]
    rows = {row.id: row for row in session.scalars(select(tables.Prompt).where(tables.Prompt.id.in_(left)))}
    return [prompt_record(rows[prompt_id]) for prompt_id in left]


def _id_and_size(session: Session, set_name: str) -> tuple[int, int]:
    row = known_set(session, set_name)
    return row.id, row.train + row.held_out
