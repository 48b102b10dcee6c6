"""Human review by a form: the run pauses, and its page in the Prefect UI asks for a ranking of each list.

Prefect ends an expired pause by failing the run. So a thread resumes the run before that, when all lists are settled or
the deadline has passed.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from pydantic import Field, create_model

from cyclealign.errors import BadOrder, StoreError
from cyclealign.judge import human_review
from cyclealign.records import Review
from cyclealign.store import Store

POLL_SECONDS = 1
# Prefect's timeout is later than the deadline by this much, for a server that is busy or down when the run is resumed.
SPARE_SECONDS = 900
INSTRUCTIONS = (
    "On these lists policy and judge disagree and the judge is unsteady. Enter the letters of each list, "
    "best answer first, for example `B A C`. Empty lists remain for `cyclealign review`."
)


def form_can_be_seen() -> bool:
    """Return whether this is a run on a server with a UI; the server that a command starts for itself has none."""
    return flow_run.id is not None and get_current_settings().server.ui.enabled


def ask_by_form(store: Store, waiting: Callable[[], Sequence[Review]], deadline: datetime) -> None:
    """Pause the run until its form is submitted, nothing is waiting, or the deadline has passed.

    Rankings that cannot be parsed are asked for again, with the problem, until the deadline.

    Args:
        waiting: returns the reviews that are still waiting.
    """
    lists, problems = list(waiting()), dict[str, str]()
    while lists and datetime.now(UTC) < deadline:
        typed = paused(lists, problems, partial(settled, lists, waiting, deadline), deadline)
        problems = store_rankings(store, lists, typed)
        lists = [review for review in waiting() if review.prompt.id in problems]


def settled(shown: Sequence[Review], waiting: Callable[[], Sequence[Review]], deadline: datetime) -> bool:
    """Return whether the pause can end: the shown lists are settled, or the deadline has passed."""
    ids = {review.prompt.id for review in shown}
    return datetime.now(UTC) >= deadline or not any(review.prompt.id in ids for review in waiting())


def paused(
    lists: Sequence[Review], problems: Mapping[str, str], done: Callable[[], bool], deadline: datetime
) -> list[str]:
    """Pause the run; return the text entered for each list, or empty texts if it was resumed because all is ``done``.

    Each pause has its own key: Prefect does not pause twice for the same key, and would skip lists that were left when
    the run was interrupted.
    """
    left = max((deadline - datetime.now(UTC)).total_seconds(), 0.0)
    with resumed_when(done):
        submitted = pause_flow_run(
            wait_for_input=form_for(lists, problems),
            timeout=round(left) + SPARE_SECONDS,
            poll_interval=POLL_SECONDS,
            key=f"review-{uuid4()}",
        )
    values = submitted.model_dump()
    return [values[name] for name in fields_of(lists)]


def fields_of(lists: Sequence[Review]) -> list[str]:
    """Return the name of each list's field."""
    return [f"list_{number}" for number in range(1, len(lists) + 1)]


def form_for(lists: Sequence[Review], problems: Mapping[str, str]) -> type[RunInput]:
    """Return the form: a page with all lists, and a field for each.

    The fields have no initial data, since Prefect would drop their titles.
    """
    description = "Best answer first, for example B A C. Empty: leave for later."
    fields = {
        name: (str, Field("", title=f"List {number}", description=description, max_length=200))
        for number, name in enumerate(fields_of(lists), 1)
    }
    model: type[RunInput] = create_model("Orders", __base__=RunInput, **fields)  # type: ignore[call-overload]
    return model.with_initial_data(description=f"{INSTRUCTIONS}\n\n{human_review.review_page(lists, problems)}")


def store_rankings(store: Store, lists: Sequence[Review], typed: Sequence[str]) -> dict[str, str]:
    """Store the rankings that can be parsed, skip empty texts, and return the problems of the others by prompt id."""
    problems = {}
    for review, text in zip(lists, typed, strict=True):
        if not text.strip():
            continue
        try:
            store.reviews.answer(
                review.round_id, review.prompt.id, human_review.parse_order(text, human_review.letters_of(review))
            )
        except BadOrder as problem:
            problems[review.prompt.id] = str(problem)
    return problems


@contextmanager
def resumed_when(done: Callable[[], bool]) -> Iterator[None]:
    """Resume this run with an empty form as soon as ``done`` returns True during the block."""
    ended, run_id = threading.Event(), UUID(str(flow_run.id))

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            # Repeated until the pause has ended: it may not have begun yet, or the server or the database may be busy.
            with suppress(PrefectException, httpx.HTTPError, StoreError):
                if done():
                    with get_client(sync_client=True) as client:
                        client.resume_flow_run(run_id)

    thread = threading.Thread(target=copy_context().run, args=(watch,), name="review", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
