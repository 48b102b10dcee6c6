"""The values of the project: frozen dataclasses that every layer passes around.

Nothing here computes a result, reads a file or imports a heavy library.
"""

from cyclealign.records.answers import Agreement, Candidate, Flag, Preference, RankedBy, Ranking, Thought, Tiers
from cyclealign.records.approvals import Approval, Choice, Decision
from cyclealign.records.calls import (
    SIMULATED_MODEL,
    Batch,
    CallOutcome,
    CallPurpose,
    FailedCall,
    JudgeCall,
    Reply,
    Spending,
)
from cyclealign.records.content import content_id, seed_from
from cyclealign.records.metrics import Metric
from cyclealign.records.reviews import Doubt, LabelVersion, Ranker, Rejudgement, Review, TemplateTrial
from cyclealign.records.rounds import (
    Adapter,
    Holder,
    Purpose,
    Round,
    RoundPlan,
    SettingChange,
    owner_in_words,
)
from cyclealign.records.texts import Demonstration, LabelledList, Message, Messages, Prompt, Split, Template, turn_text
from cyclealign.records.training import STEP_FIGURES, TrainingStep

__all__ = [
    "SIMULATED_MODEL",
    "STEP_FIGURES",
    "TrainingStep",
    "Adapter",
    "Agreement",
    "Approval",
    "Batch",
    "CallPurpose",
    "Candidate",
    "Choice",
    "Decision",
    "Demonstration",
    "Doubt",
    "Flag",
    "Holder",
    "JudgeCall",
    "LabelVersion",
    "LabelledList",
    "Message",
    "Messages",
    "Metric",
    "CallOutcome",
    "FailedCall",
    "Preference",
    "Prompt",
    "Purpose",
    "RankedBy",
    "Ranker",
    "Ranking",
    "Rejudgement",
    "Reply",
    "Review",
    "Round",
    "RoundPlan",
    "SettingChange",
    "Spending",
    "Split",
    "Template",
    "TemplateTrial",
    "Thought",
    "Tiers",
    "content_id",
    "seed_from",
    "turn_text",
    "owner_in_words",
]
