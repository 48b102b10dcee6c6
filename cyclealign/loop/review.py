"""Human review: send uncertain lists to reviewers and wait for their rankings."""

import time
from datetime import UTC, datetime, timedelta

from cyclealign.judge import human_review
from cyclealign.loop.session import RoundSession
from cyclealign.progress import announce
from cyclealign.records import Review, Round

POLL_SECONDS = 1.0


def review(session: RoundSession, round_: Round) -> str:
    """Send the round's most uncertain lists to reviewers and wait for human rankings; return a summary.

    A resumed round keeps its lists, the rankings received and the rest of the wait. After training it no longer waits,
    since no ranking would be trained on.
    """
    settings = session.config.review
    if settings.lists == 0:
        return "no lists are sent to reviewers"
    agreements, verdicts = (
        session.store.agreements.by_prompt(round_.id),
        session.store.rankings.by_prompt(round_.id, "judge"),
    )
    session.store.reviews.add(round_.id, human_review.most_uncertain(agreements.values(), verdicts, settings.lists))
    if pending_reviews(session, round_) and session.store.adapters.of_round(round_.id) is None:
        wait_for_reviews(session, round_)
    reviews = session.store.reviews.find(round_.experiment, round_.number)
    answered = sum(review.status == "answered" for review in reviews)
    return f"{answered} of {len(reviews)} lists ranked by people"


def pending_reviews(session: RoundSession, round_: Round) -> list[Review]:
    """Return the round's lists that no reviewer has ranked or skipped."""
    return [each for each in session.store.reviews.find(round_.experiment, round_.number) if each.status == "waiting"]


def wait_for_reviews(session: RoundSession, round_: Round) -> None:
    """Wait until every list is settled or the wait is over; the policy frees its memory meanwhile."""
    reviews = session.store.reviews.find(round_.experiment, round_.number)
    deadline = min(review.asked_at for review in reviews) + timedelta(minutes=session.config.review.wait_minutes)
    if datetime.now(UTC) >= deadline:
        return
    count = len(pending_reviews(session, round_))
    # Short: the terminal shows one line of it.
    announce(f"Rank {count} lists by {deadline.astimezone():%a %H:%M}: cyclealign review {round_.experiment}")
    session.release_policy_memory()
    if form := session.ports.review_form():
        form(session.store, lambda: pending_reviews(session, round_), deadline)
        return
    while datetime.now(UTC) < deadline and pending_reviews(session, round_):
        time.sleep(POLL_SECONDS)
