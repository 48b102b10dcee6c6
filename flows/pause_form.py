"""Lists put to people by a form: the run pauses, and its page in the Prefect UI asks for an order of each.

Prefect keeps the time of a pause by failing the run. So a thread of ours resumes it, early enough, when there is
nothing left to answer or the time is over.
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
# What Prefect waits longer than we do, for a server that is busy or away when the run is to be resumed.
SPARE_SECONDS = 900
WHAT_TO_DO = (
    "On these lists policy and judge disagree and the judge is unsteady. Give the letters of each list, "
    "the best answer first, such as `B A C`. A list that you leave empty stays for `cyclealign review`."
)


def form_can_be_seen() -> bool:
    """Whether this is a run on a server with a UI: the server that a command line starts for itself has none."""
    return flow_run.id is not None and get_current_settings().server.ui.enabled


def ask_by_form(store: Store, waiting: Callable[[], Sequence[Review]], deadline: datetime) -> None:
    """Pause the run until its form is sent off, nothing is waiting, or the time is over.

    Orders that cannot be read are shown again, with what is wrong, as long as there is time.
    """
    lists, problems = list(waiting()), dict[str, str]()
    while lists and datetime.now(UTC) < deadline:
        typed = paused(lists, problems, partial(over, lists, waiting, deadline), deadline)
        problems = keep(store, lists, typed)
        lists = [each for each in waiting() if each.prompt.id in problems]


def over(shown: Sequence[Review], waiting: Callable[[], Sequence[Review]], deadline: datetime) -> bool:
    """Whether there is no reason to wait on: the lists that are shown are settled, or the time is over."""
    ids = {each.prompt.id for each in shown}
    return datetime.now(UTC) >= deadline or not any(each.prompt.id in ids for each in waiting())


def paused(
    lists: Sequence[Review], problems: Mapping[str, str], done: Callable[[], bool], deadline: datetime
) -> list[str]:
    """What a person typed for each list; empty texts where the run was resumed because that was ``done``.

    Each pause has a key of its own: Prefect does not pause for a key twice, and would pass by a list that was left when
    the run was cut off.
    """
    left = max((deadline - datetime.now(UTC)).total_seconds(), 0.0)
    with resumed_when(done):
        given = pause_flow_run(
            wait_for_input=form_for(lists, problems),
            timeout=round(left) + SPARE_SECONDS,
            poll_interval=POLL_SECONDS,
            key=f"review-{uuid4()}",
        )
    values = given.model_dump()
    return [values[name] for name in fields_of(lists)]


def fields_of(lists: Sequence[Review]) -> list[str]:
    """The name of each list's field."""
    return [f"list_{number}" for number in range(1, len(lists) + 1)]


def form_for(lists: Sequence[Review], problems: Mapping[str, str]) -> type[RunInput]:
    """The form: all lists as a page, and a field for each. With initial data Prefect would drop the fields' titles."""
    says = "The best answer first, such as B A C. Empty: left for later."
    fields = {
        name: (str, Field("", title=f"List {number}", description=says, max_length=200))
        for number, name in enumerate(fields_of(lists), 1)
    }
    model: type[RunInput] = create_model("Orders", __base__=RunInput, **fields)  # type: ignore[call-overload]
    return model.with_initial_data(description=f"{WHAT_TO_DO}\n\n{human_review.review_page(lists, problems)}")


def keep(store: Store, lists: Sequence[Review], typed: Sequence[str]) -> dict[str, str]:
    """Store the orders that can be read; return by prompt id what is wrong with the others. Empty ones are left."""
    problems = {}
    for each, text in zip(lists, typed, strict=True):
        if not text.strip():
            continue
        try:
            store.reviews.answer(
                each.round_id, each.prompt.id, human_review.parse_order(text, human_review.letters_of(each))
            )
        except BadOrder as problem:
            problems[each.prompt.id] = str(problem)
    return problems


@contextmanager
def resumed_when(settled: Callable[[], bool]) -> Iterator[None]:
    """Resume this run from its pause, by an empty form, as soon as all is ``settled``."""
    done, run_id = threading.Event(), UUID(str(flow_run.id))

    def watch() -> None:
        while not done.wait(POLL_SECONDS):
            # Asked again until the pause has ended: it may not have begun yet, or server or database be busy.
            with suppress(PrefectException, httpx.HTTPError, StoreError):
                if settled():
                    with get_client(sync_client=True) as client:
                        client.resume_flow_run(run_id)

    thread = threading.Thread(target=copy_context().run, args=(watch,), name="review", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
