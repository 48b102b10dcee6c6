"""Settings of the policy's own ranking, with which the judge's is compared."""

from typing import Literal

from pydantic import Field

from cyclealign.config.section import Section

ScoreName = Literal["mean_logprob", "sum_logprob", "pmi", "implicit_reward", "self_judgement"]


class AgreementSettings(Section):
    """The score by which the policy ranks its own answers (equations and costs: docs/methods.md)."""

    score: ScoreName = Field(
        "mean_logprob",
        title="Score",
        description="`mean_logprob`: log-prob per token, as in the paper. `sum_logprob`: of the whole answer. `pmi`: "
        "minus that of the answer without its question. `implicit_reward`: minus that under the base model. "
        "`self_judgement`: the policy is asked for the best answer by the judge's template. The last three take "
        "further passes of the model.",
    )
    length_control: bool = Field(
        False,
        title="Length control",
        description="Rank by the part of the score that a line in the number of tokens does not explain, fitted within "
        "the lists of the round.",
    )
