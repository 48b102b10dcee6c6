"""Open a round, or resume the unfinished one with the settings that may change meanwhile."""

import logging

from cyclealign.loop.demonstration_gain import note_withheld
from cyclealign.loop.lease import LEASE_SECONDS, may_be_alive
from cyclealign.loop.plan import plan_round, require_trainable_adapter
from cyclealign.loop.revise import revise
from cyclealign.loop.session import RoundSession
from cyclealign.records import Round

logger = logging.getLogger(__name__)


def open_or_resume(session: RoundSession) -> Round:
    """Return the experiment's unfinished round, taken over from a run that has ended, or a new one.

    The session has the settings of the round from then on.

    Raises:
        ExperimentBusy: another run is advancing the experiment.
        BadConfig: the settings do not go together with the experiment or the open round, or no adapter of these
            settings can be trained or served.
        StoreError: no fresh prompts are left, or the experiment is archived.
    """
    session.store.experiments.require_active(session.config.experiment)
    round_ = session.store.rounds.unfinished(session.config.experiment)
    if round_ is None:
        require_trainable_adapter(session, session.store.rounds.last_kept(session.config.experiment)[1])
        round_ = session.store.rounds.open(plan_round(session), session.owner, LEASE_SECONDS)
    else:
        session.store.rounds.take_over(round_.id, session.owner, LEASE_SECONDS, may_be_alive)
        logger.info("Going on with round %d of '%s'.", round_.number, round_.experiment)
        round_ = revise(session, round_)
    note_withheld(session, round_)
    return round_
