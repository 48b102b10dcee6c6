"""One experiment of `benchmarks.cycle`: ``python -m benchmarks.cycle_run agreed|random CONFIG``.

``random``: as many lists of a round as agree become demonstrations, drawn at random, with as many answers each, also
drawn at random and in the judge's order.
"""

import random
import sys
from collections.abc import Callable
from dataclasses import replace

from cyclealign.cli.main import main
from cyclealign.loop import promote
from cyclealign.loop.session import RoundSession
from cyclealign.records import Agreement, Round, seed_from

FindPromotable = Callable[[RoundSession, Round], list[Agreement]]


def at_random(find_promotable: FindPromotable) -> FindPromotable:
    """Return a function that replaces the lists that agree by random ones."""

    def find(session: RoundSession, round_: Round) -> list[Agreement]:
        agreed = find_promotable(session, round_)
        draw = random.Random(seed_from(session.config.seed, "random lists", round_.number))
        judged = session.store.rankings.by_prompt(round_.id, "judge")
        found = session.store.agreements.by_prompt(round_.id)
        rows = draw.sample([found[prompt_id] for prompt_id in sorted(found)], len(agreed))
        return [
            replace(row, order=in_order(judged[row.prompt_id].order, len(one.order), draw))
            for row, one in zip(rows, agreed, strict=True)
        ]

    return find


def in_order(order: tuple[str, ...], count: int, draw: random.Random) -> tuple[str, ...]:
    """Return some answers, drawn at random, in their order."""
    places = sorted(draw.sample(range(len(order)), min(count, len(order))))
    return tuple(order[place] for place in places)


if __name__ == "__main__":
    which, config = sys.argv[1:]
    if which == "random":
        promote.find_promotable = at_random(promote.find_promotable)  # type: ignore[assignment]
    sys.argv = ["cyclealign", "run", config]
    main()
