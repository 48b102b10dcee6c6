"""People in a round: the lists in doubt are put to them, and the round waits for their orders as it was told to."""

import time
from datetime import UTC, datetime, timedelta

from cyclealign.judge import human_review
from cyclealign.loop.session import RoundSession
from cyclealign.progress import announce
from cyclealign.records import Review, Round

POLL_SECONDS = 1.0


def review(session: RoundSession, round_: Round) -> str:
    """Put the round's most doubtful lists to people, and wait for their orders if the settings say so.

    A resumed round finds the same lists, those that were ranked meanwhile, and what is left of the wait. After its
    training it waits no more: nothing would learn what came.
    """
    settings = session.config.review
    if settings.lists == 0:
        return "nobody is asked"
    agreements, verdicts = (
        session.store.agreements.by_prompt(round_.id),
        session.store.rankings.by_prompt(round_.id, "judge"),
    )
    session.store.reviews.add(round_.id, human_review.most_uncertain(agreements.values(), verdicts, settings.lists))
    if waiting(session, round_) and session.store.adapters.of_round(round_.id) is None:
        wait_for_people(session, round_)
    asked = session.store.reviews.find(round_.experiment, round_.number)
    return f"{sum(each.status == 'answered' for each in asked)} of {len(asked)} lists ranked by people"


def waiting(session: RoundSession, round_: Round) -> list[Review]:
    """The round's lists that nobody has ranked or skipped yet."""
    return [each for each in session.store.reviews.find(round_.experiment, round_.number) if each.status == "waiting"]


def wait_for_people(session: RoundSession, round_: Round) -> None:
    """Until every list is settled, or the time since they were asked for is over; the policy rests meanwhile."""
    asked = session.store.reviews.find(round_.experiment, round_.number)
    deadline = min(each.asked_at for each in asked) + timedelta(minutes=session.config.review.wait_minutes)
    if datetime.now(UTC) >= deadline:
        return
    count = len(waiting(session, round_))
    # Short: the terminal shows one line of it.
    announce(f"Rank {count} lists by {deadline.astimezone():%a %H:%M}: cyclealign review {round_.experiment}")
    session.rest()
    if form := session.ports.review_form():
        form(session.store, lambda: waiting(session, round_), deadline)
        return
    while datetime.now(UTC) < deadline and waiting(session, round_):
        time.sleep(POLL_SECONDS)
