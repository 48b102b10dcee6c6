"""Train damaged or missing weights again, from the round that trained them: its answers and rankings are stored."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cyclealign.errors import CycleAlignError, LeaseLost, PolicyError
from cyclealign.files import home, keep_folder, temporary_folder
from cyclealign.loop.lease import LEASE_SECONDS, KeptLease
from cyclealign.loop.session import RoundSession
from cyclealign.loop.settings import opened_settings
from cyclealign.loop.train import training_job
from cyclealign.policy import weights
from cyclealign.progress import announce, report_progress
from cyclealign.records import Adapter, Round
from cyclealign.training import launcher

logger = logging.getLogger(__name__)
NOTE = "weights"


def mend_weights(session: RoundSession) -> None:
    """Check the weights that the next round starts from, or the open one has; train again those that are damaged.

    The session holds the experiment.

    Raises:
        PolicyError: they cannot be trained again, with the cause.
        LeaseLost: another run took the experiment over; training has ended.
    """
    for adapter in needed_weights(session):
        mend(session, adapter)


def needed_weights(session: RoundSession) -> Iterator[Adapter]:
    """Yield the adapters with which the run goes on, parents first."""
    store, experiment = session.store, session.config.experiment
    round_ = store.rounds.unfinished(experiment)
    parent = store.rounds.last_kept(experiment)[1] if round_ is None else round_.parent
    own = None if round_ is None else store.adapters.of_round(round_.id)
    yield from (adapter for adapter in (parent, own) if adapter is not None)


def mend(session: RoundSession, adapter: Adapter) -> None:
    """Train the weights of an adapter again if its folder does not hold them, after those of its parent.

    Raises:
        PolicyError: they cannot be trained again, with the cause.
        LeaseLost: another run took the experiment over.
    """
    if session.has_weights(adapter):
        return
    round_ = session.store.rounds.get(*session.store.adapters.round_of(adapter.id))
    if round_.parent is not None:
        mend(session, round_.parent)
        round_ = session.store.rounds.get(round_.experiment, round_.number)  # its parent's folder may be another now
    announce(
        f"The weights of round {round_.number} in {adapter.path} are damaged or missing. They are trained again from "
        "the stored round."
    )
    try:
        with settings_of(session, round_):
            train_again(session, round_, adapter)
    except LeaseLost:
        raise
    except CycleAlignError as error:
        raise PolicyError(
            f"The weights of round {round_.number} in {adapter.path} are damaged or missing, and could not be trained "
            f"again: {error} Mend that and rerun, or restore the folder from a backup."
        ) from error


@contextmanager
def settings_of(session: RoundSession, round_: Round) -> Iterator[None]:
    """Give the session the settings of the round during the block."""
    given = session.config
    session.apply_settings(opened_settings(round_))
    try:
        yield
    finally:
        session.apply_settings(given)


def train_again(session: RoundSession, round_: Round, adapter: Adapter) -> None:
    """Repeat the round's training; other bits than before, as on another machine, are recorded and noted."""
    job = training_job(session, round_, session.store.reviews.learnt(round_.id))
    log = home() / "logs" / f"training-{round_.experiment}-round-{round_.number}.log"
    folder = Path(adapter.path)
    session.release_policy_memory()
    lease = KeptLease(lambda seconds: session.store.leases.renew(session.config.experiment, session.owner, seconds))

    def on_progress(step: int, of: int) -> None:
        report_progress("train again", step, of)
        lease.require()

    with temporary_folder(folder) as unfinished:
        launcher.train(job, unfinished, on_progress, log)
        found = weights.content_hash(unfinished)
        assert found is not None
        same = weights.holds(unfinished, adapter.content_hash)
        session.store.leases.renew(session.config.experiment, session.owner, LEASE_SECONDS)
        if same:
            put_aside(folder)
            kept = keep_folder(unfinished, folder, lambda path: session.has_weights(adapter))
        else:
            named = folder.with_name(f"round-{round_.number}-{found[:12]}")
            kept = keep_folder(unfinished, named, lambda path: weights.content_hash(path) == found)
    recorded = adapter.content_hash if same else found
    session.store.adapters.replace(adapter.id, str(kept), recorded)
    words = "damaged or missing, and trained again from the stored round with the same result"
    if not same:
        words = (
            f"damaged or missing, and trained again from the stored round: the new weights (hash {found[:12]}) are not "
            f"bit for bit the former ones ({adapter.content_hash[:12]}), on which the round's figures were measured"
        )
        logger.warning("Round %d of '%s': its weights were %s.", round_.number, round_.experiment, words)
    session.store.notes.record(round_.id, NOTE, words)


def put_aside(folder: Path) -> None:
    """Rename a damaged folder, so that its place is free; `cyclealign experiments prune` deletes it."""
    number = 1
    while folder.exists():
        aside = folder.with_name(f"{folder.name}-damaged-{number}")
        if not aside.exists():
            folder.rename(aside)
        number += 1
