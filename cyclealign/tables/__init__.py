"""The tables of the database, one class each.

Proposals of a round (its adapter, promoted and retired demonstrations, template versions) carry the round's id and
count only if that round's verdict is ``accepted``: one UPDATE of one row promotes or drops all of them together.
"""

from cyclealign.tables.approvals import Approval, Decision
from cyclealign.tables.columns import Base
from cyclealign.tables.distillations import DistillationMeasure, DistillationRun, DistillationStep
from cyclealign.tables.judgements import (
    CandidateFlag,
    CandidateLogprob,
    EndpointRefusal,
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
    KeptTemplate,
    LabelledList,
    Prompt,
    PromptSet,
    PromptSetMember,
    Template,
)
from cyclealign.tables.rounds import (
    Adapter,
    Experiment,
    ExperimentLease,
    Metric,
    Round,
    RoundChange,
    RoundDemonstration,
    RoundNote,
    RoundPrompt,
    RoundStep,
    RoundTemplate,
    TrainingStep,
)
from cyclealign.tables.totals import CallTotal, RoundTotal
from cyclealign.tables.verdicts import Agreement, Candidate, JudgeBatch, JudgeCall, Ranking, RankingPlace

__all__ = [
    "Adapter",
    "Agreement",
    "Approval",
    "Base",
    "CallTotal",
    "Candidate",
    "CandidateFlag",
    "CandidateLogprob",
    "Decision",
    "Demonstration",
    "DemonstrationPromotion",
    "DemonstrationRetirement",
    "DistillationMeasure",
    "DistillationRun",
    "DistillationStep",
    "EndpointRefusal",
    "Experiment",
    "ExperimentLease",
    "JudgeBatch",
    "JudgeCall",
    "JudgeEndpoint",
    "KeptTemplate",
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
    "RoundChange",
    "RoundDemonstration",
    "RoundNote",
    "RoundPrompt",
    "RoundStep",
    "RoundTemplate",
    "RoundTotal",
    "Template",
    "TrainingStep",
    "UnjudgedPrompt",
]
