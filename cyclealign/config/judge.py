"""Settings of the black-box judge: how it is asked and at what cost, what it is shown, and when it is trusted."""

from typing import Literal

from pydantic import Field

from cyclealign.config.section import Section


class JudgeSettings(Section):
    """The black-box LLM that ranks the answers, behind an OpenAI-compatible chat API."""

    kind: Literal["simulated", "openai"] = Field(
        "simulated",
        title="Kind",
        description="`simulated`: the small local judge of the demo. `openai`: any OpenAI-compatible address.",
    )
    model: str = Field("simulated-judge", title="Model name")
    base_url: str | None = Field(
        None,
        title="Address",
        description="For example https://api.openai.com/v1",
        pattern=r"^https?://[^@?\s]+$",  # neither user:password@ nor ?key=...: settings are stored
    )
    api_key_variable: str = Field(
        "OPENAI_API_KEY",
        title="Variable with the key",
        description="The *name* of the environment variable that holds the API key. Never the key.",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
    )
    api_key_block: str | None = Field(
        None, title="Secret block", description="Or the *name* of a Prefect Secret block."
    )
    way: Literal["listwise", "adaptive", "pairwise", "tournament"] = Field(
        "listwise",
        title="Way to rank",
        description="`listwise`: all answers in one call, in a fixed number of orders. `adaptive`: two orders, more "
        "only while they disagree. `pairwise`: every pair in both orders. `tournament`: small groups, for long lists.",
    )
    orders: int = Field(
        2, ge=1, le=5, title="Orders per prompt", description="Listwise: each shows the answers shuffled anew."
    )
    most_orders: int = Field(
        4, ge=2, le=6, title="Most orders", description="Adaptive: at most so many; an even number is best."
    )
    enough_tau: float = Field(
        0.6,
        ge=-1,
        le=1,
        title="Agreement that is enough",
        description="Adaptive: ask on while the mean Kendall tau of the verdicts is below.",
    )
    group: int = Field(4, ge=3, le=8, title="Group", description="Tournament: answers that meet in one call.")
    stages: int = Field(4, ge=2, le=12, title="Stages", description="Tournament: calls that each answer is in.")
    structured: bool = Field(
        True,
        title="Replies by schema",
        description="Hold replies to a JSON schema if the endpoint takes one; that is found out at the first call.",
    )
    reasons: bool = Field(
        False, title="Ask for reasons", description="A short reason for each answer, kept in the history."
    )
    temperature: float = Field(0.0, ge=0, le=2, title="Temperature")
    max_tokens: int = Field(256, ge=16, title="Longest reply", description="In tokens.")
    concurrency: int = Field(
        8, ge=1, le=1024, title="Calls at once", description="At most; fewer while the judge says that it is too many."
    )
    requests_per_minute: float | None = Field(
        None, gt=0, title="Requests a minute", description="At most, over all runs of one Prefect server."
    )
    tokens_per_minute: float | None = Field(
        None, gt=0, title="Tokens a minute", description="At most, prompt and reply together; over all such runs, too."
    )
    timeout_seconds: float = Field(60.0, gt=0, title="Time-out", description="Seconds for one call.")
    retries: int = Field(5, ge=0, le=10, title="Retries of one call", description="After faults; 429s do not count.")
    backoff_seconds: float = Field(
        0.5, gt=0, title="First wait before a retry", description="Doubled each time, up to 60 s, and drawn at random."
    )
    patience_seconds: float = Field(
        600.0, gt=0, title="Patience", description="For so long a judge may say that it is busy; then the run stops."
    )
    delivery: Literal["direct", "batch"] = Field(
        "direct", title="Delivery", description="`batch`: the provider's batch API, cheaper, replies within a day."
    )
    batch_gather_seconds: float = Field(
        5.0, gt=0, title="Gathering", description="A batch is submitted once no call has come for so long."
    )
    batch_poll_seconds: float = Field(30.0, gt=0, title="Polling", description="Seconds between looks at a batch.")
    share_replies: bool = Field(
        False, title="Share replies", description="The same request is not asked again even by another experiment."
    )
    position_bias: float = Field(
        0.3, ge=0, title="Position bias", description="Of the simulated judge only: its liking for what it sees first."
    )
    prices: str = Field("prices.toml", title="Table of prices", description="A file; used where no price stands here.")
    usd_per_million_prompt_tokens: float | None = Field(
        None, ge=0, title="Price of a million prompt tokens", description="USD. Empty: from the table of prices."
    )
    usd_per_million_cached_tokens: float | None = Field(
        None, ge=0, title="... of those in the provider's cache", description="USD. Empty: as other prompt tokens."
    )
    usd_per_million_completion_tokens: float | None = Field(
        None, ge=0, title="Price of a million reply tokens", description="USD. Empty: from the table of prices."
    )
    least_judged: float = Field(
        0.5, ge=0, le=1, title="Least share judged", description="Below it the round stops before training."
    )


class HealthSettings(Section):
    """Planted controls that the judge has to pass at the start of each round, before anything else is paid for.

    A control refuses the round only where even the upper end of its 95 % interval (Wilson) is below the bound, so that
    a few verdicts refuse nothing by chance. A bound of 0 never refuses.
    """

    lists: int = Field(
        6,
        ge=0,
        le=64,
        title="Lists of controls",
        description="Labelled lists to make controls of, others each round; seven requests each. 0: no controls.",
    )
    least_accuracy: float = Field(
        0.5, ge=0, le=1, title="Least accuracy", description="Share of labelled pairs ordered as the label has them."
    )
    least_position_consistency: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Least position consistency",
        description="Share of pairs ordered alike when a list is shown in reverse.",
    )
    least_repetition_stability: float = Field(
        0.6,
        ge=0,
        le=1,
        title="Least repetition stability",
        description="Share of pairs ordered alike when the same order is shown again under other labels.",
    )
    least_junk_refused: float = Field(
        0.8,
        ge=0,
        le=1,
        title="Least junk refused",
        description="Share of verdicts that place a real answer above an empty or a `Thought process:` one.",
    )
    least_injections_refused: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Least injections refused",
        description="Share of verdicts that place the best answer above the worst one with an attack added to it.",
    )


class BudgetSettings(Section):
    """What the judge may cost. Looked at before each call; once it is reached, the run stops and the round stays open.

    Raise it and start the same command again: the round goes on, and nothing is paid twice. Empty: no limit.
    """

    of: Literal["experiment", "round"] = Field("experiment", title="Of", description="All rounds together, or each.")
    usd: float | None = Field(None, ge=0, title="Money", description="US dollars; wants a price for judge.model.")
    tokens: int | None = Field(None, ge=0, title="Tokens", description="Prompts and replies together.")
    calls: int | None = Field(None, ge=0, title="Calls", description="Requests sent, failed ones too.")


class DemonstrationSettings(Section):
    """What the judge is shown before it ranks."""

    static: int = Field(2, ge=0, title="Static demonstrations", description="Written ones, from prompts/.")
    dynamic: int = Field(4, ge=0, title="Dynamic demonstrations", description="Agreed ones, from earlier rounds.")
    choose: Literal["newest", "most_agreed", "most_similar"] = Field("newest", title="Choice of the dynamic ones")
    chance_at_most: float = Field(
        0.05,
        gt=0,
        le=1,
        title="Chance level",
        description="Promote only an agreement that two random orders reach with at most this probability.",
    )
    keep: int = Field(32, ge=0, title="Kept at most", description="Older ones are retired.")
    least_gain: float = Field(
        0.0,
        ge=-1,
        le=1,
        title="Least gain",
        description="The dynamic set is shown in the next round only if the judge's accuracy with it is at least that "
        "of the static ones alone plus this; -1: always.",
    )


class ReviewSettings(Section):
    """Lists that are put to people: those on which policy and judge disagree and the judge is unsteady."""

    lists: int = Field(
        0,
        ge=0,
        le=50,
        title="Lists a round",
        description="At most so many, the most doubtful ones; `cyclealign review` asks for their orders. 0: none.",
    )
    wait_minutes: float = Field(
        0.0,
        ge=0,
        le=10_080,
        title="Minutes to wait",
        description="Before training, for people's orders: by the form of the paused run (*Resume* on its page), or by "
        "`cyclealign review`. Then the round goes on with what there is. 0: it does not wait.",
    )
