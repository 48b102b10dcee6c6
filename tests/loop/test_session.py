"""The parts of a run, and the settings that they are made by."""

from contextlib import ExitStack

from cyclealign.config import ExperimentConfig, JudgeSettings, PolicySettings
from cyclealign.loop.session import RoundSession


def config(**policy):
    return ExperimentConfig(policy=PolicySettings(model="a-model", **policy))


class StandIn:
    """A policy that knows whether it was closed."""

    closed = False

    def close(self):
        self.closed = True


def test_a_policy_made_by_other_settings_is_made_anew(store):
    """Prevents a round that samples by the settings of the round before it and records its own."""
    with ExitStack() as stack:
        session = RoundSession(config(), store, stack)
        first = session.__dict__["policy"] = StandIn()
        session.apply_settings(config().model_copy(update={"judge": JudgeSettings(temperature=0.5)}))
        assert session.policy is first
        session.apply_settings(config(temperature=0.5))
        assert first.closed
        assert "policy" not in session.__dict__


def test_a_simulated_judge_has_the_bias_of_its_round(store):
    """Prevents a resumed round's judge from serving the next round, which asks for another one."""
    with ExitStack() as stack:
        session = RoundSession(config(), store, stack)
        before = session.judge_address(session.config.judge)
        session.apply_settings(session.config.model_copy(update={"judge": JudgeSettings(position_bias=2.0)}))
        assert session.judge_address(session.config.judge) != before
