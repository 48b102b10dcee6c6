"""A scripted reviewer, and an experiment whose lists need one."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cyclealign.records import Review
from cyclealign.store import Store
from tests.support.experiment import Bench
from tests.support.launched import until
from tests.support.local_judge import unsure


def with_doubtful_lists(bench: Bench) -> Bench:
    """A bench whose judge wavers on every list; at most two need a review, and the round waits for it."""
    bench.judge.script = unsure
    bench.set("review", lists=2, wait_minutes=10)
    bench.set("acceptance", min_win_rate=0.0)
    return bench


@contextmanager
def person(act: Callable[[], object]) -> Iterator[None]:
    """Somebody who does ``act`` during the run; an error there fails the test."""
    problems: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # handed to the test, in whose thread it counts
            problems.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join()
    assert problems == []


def asked(count: int = 2) -> list[Review]:
    """The reviews that are waiting, once there are ``count`` of them."""

    def come() -> list[Review] | None:
        with Store.open() as store:
            waiting = [review for review in store.reviews.find("bench") if review.status == "waiting"]
        return waiting if len(waiting) == count else None

    reviews: list[Review] = until(f"{count} lists to be waiting", lambda: rounds() and come())
    return reviews


def rounds() -> list[dict[str, Any]]:
    with Store.open() as store:
        return store.experiments.rounds("bench") if store.experiments.names() else []


def detail() -> dict[str, Any]:
    with Store.open() as store:
        return store.history.detail("bench", 1)


def against_the_judge(review: Review) -> tuple[str, ...]:
    """The judge's order reversed, as candidate ids."""
    with Store.open() as store:
        return store.rankings.by_prompt(review.round_id, "judge")[review.prompt.id].order[::-1]


def rank_all() -> None:
    """Answer every waiting review against the judge."""
    for review in asked():
        with Store.open() as store:
            assert store.reviews.answer(review.round_id, review.prompt.id, against_the_judge(review))
