"""The tables: what the memory holds, one class each, named as a person would name it.

What a round proposes (an adapter, promoted and retired demonstrations, template versions) carries the round's id and
counts only while that round's verdict is ``accepted``: so one UPDATE of one row promotes or drops all of it together.
"""

from cyclealign.tables.columns import Base
from cyclealign.tables.distillations import DistillationMeasure, DistillationRun, DistillationStep
from cyclealign.tables.judgements import (
    CandidateFlag,
    JudgeEndpoint,
    RankingPreference,
    RankingReason,
    Rejudgement,
    ReplyProblem,
    Review,
    UnjudgedPrompt,
)
from cyclealign.tables.material import (
    Demonstration,
    DemonstrationPromotion,
    DemonstrationRetirement,
    LabelledList,
    Prompt,
    PromptSet,
    PromptSetMember,
    Template,
)
from cyclealign.tables.rounds import (
    Adapter,
    Experiment,
    Metric,
    Round,
    RoundDemonstration,
    RoundNote,
    RoundPrompt,
    RoundStep,
    RoundTemplate,
)
from cyclealign.tables.verdicts import Agreement, Candidate, JudgeBatch, JudgeCall, Ranking, RankingPlace

__all__ = [
    "Adapter",
    "Agreement",
    "Base",
    "Candidate",
    "CandidateFlag",
    "Demonstration",
    "DemonstrationPromotion",
    "DemonstrationRetirement",
    "DistillationMeasure",
    "DistillationRun",
    "DistillationStep",
    "Experiment",
    "JudgeBatch",
    "JudgeCall",
    "JudgeEndpoint",
    "LabelledList",
    "Metric",
    "Prompt",
    "PromptSet",
    "PromptSetMember",
    "Ranking",
    "RankingPlace",
    "RankingPreference",
    "RankingReason",
    "Rejudgement",
    "ReplyProblem",
    "Review",
    "Round",
    "RoundDemonstration",
    "RoundNote",
    "RoundPrompt",
    "RoundStep",
    "RoundTemplate",
    "Template",
    "UnjudgedPrompt",
]
