"""Settings of the black-box judge: calls, control lists and budget."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, model_validator

from cyclealign.config.extra_request import check_base_url, check_extra_body, check_extra_headers, none_for_word
from cyclealign.config.former_names import Formerly
from cyclealign.config.mid_round import CHANGEABLE_MID_ROUND
from cyclealign.config.no_effect import NotWith, OnlyWith, WithAnyOf
from cyclealign.config.section import Section
from cyclealign.records import SIMULATED_MODEL

UNCACHED_PRICES = ("judge.usd_per_million_prompt_tokens", "judge.usd_per_million_completion_tokens")
REAL_ONLY = NotWith("judge.kind", "simulated")
ADAPTIVE_ONLY = OnlyWith("judge.method", "adaptive", "tournament")  # short lists of a tournament are ranked as adaptive
TOURNAMENT_ONLY = OnlyWith("judge.method", "tournament")
BATCH_ONLY = OnlyWith("judge.delivery", "batch")
WITH_CONTROLS = NotWith("health.lists", 0)


class JudgeSettings(Section):
    """The black-box LLM that ranks the answers, behind an OpenAI-compatible chat API."""

    kind: Literal["simulated", "openai"] = Field(
        "simulated",
        title="Kind",
        description="`simulated`: the small local judge of the demo. `openai`: any OpenAI-compatible address; the "
        "default if `model` or `base_url` is given.",
    )
    model: str = Field(SIMULATED_MODEL, title="Model name", description="As the endpoint knows it.")
    base_url: Annotated[str | None, AfterValidator(check_base_url), CHANGEABLE_MID_ROUND] = Field(
        None,
        title="Address",
        description="For example https://api.openai.com/v1",
        pattern=r"^https?://[^@?\s]+$",  # neither user:password@ nor ?key=...: settings are stored
    )
    api_key_variable: Annotated[str, CHANGEABLE_MID_ROUND, REAL_ONLY] = Field(
        "OPENAI_API_KEY",
        title="API key variable",
        description="The *name* of the environment variable that holds the API key. Never the key.",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
    )
    api_key_block: Annotated[str | None, CHANGEABLE_MID_ROUND, REAL_ONLY] = Field(
        None, title="API key block", description="Alternatively, the *name* of a Prefect Secret block."
    )
    method: Annotated[Literal["listwise", "adaptive", "pairwise", "tournament"], Formerly("way")] = Field(
        "listwise",
        title="Ranking method",
        description="`listwise`: all answers in one call, in a fixed number of orders. `adaptive`: two orders, more "
        "only while they disagree. `pairwise`: every pair in both orders. `tournament`: small groups, for long lists.",
    )
    num_orders: Annotated[int, Formerly("orders"), OnlyWith("judge.method", "listwise")] = Field(
        2, ge=1, le=5, title="Orders per prompt", description="`listwise`: each order is a new shuffle of the answers."
    )
    max_orders: Annotated[int, Formerly("most_orders"), ADAPTIVE_ONLY] = Field(
        4, ge=2, le=6, title="Maximum orders per prompt", description="`adaptive`: an even number works best."
    )
    stop_at_tau: Annotated[float, Formerly("enough_tau"), ADAPTIVE_ONLY] = Field(
        0.6,
        ge=-1,
        le=1,
        title="Stop at tau",
        description="`adaptive`: add orders until the mean Kendall tau of the verdicts reaches this value.",
    )
    group_size: Annotated[int, Formerly("group"), TOURNAMENT_ONLY] = Field(
        4, ge=3, le=8, title="Group size", description="`tournament`: answers per call."
    )
    calls_per_answer: Annotated[int, Formerly("stages"), TOURNAMENT_ONLY] = Field(
        4, ge=2, le=12, title="Calls per answer", description="`tournament`: calls in which each answer is ranked."
    )
    structured: Annotated[bool, CHANGEABLE_MID_ROUND] = Field(
        True,
        title="Structured output",
        description="Request replies that match a JSON schema. The first call checks whether the endpoint supports it.",
    )
    reasons: bool = Field(
        False, title="Ask for reasons", description="A short reason for each answer, kept in the history."
    )
    temperature: Annotated[float | None, BeforeValidator(none_for_word), REAL_ONLY] = Field(
        0.0,
        ge=0,
        le=2,
        title="Temperature",
        description='0: the same reply each time. `"none"`: the provider\'s default; an endpoint that refuses a '
        "temperature gets none.",
    )
    max_tokens: Annotated[int, CHANGEABLE_MID_ROUND] = Field(
        256,
        ge=16,
        title="Max reply tokens",
        description="Thoughts of a reasoning judge included. A reply that is cut off before its answer is requested "
        "once more with four times as many, at least 2,048. Longer with *Ask for reasons*.",
    )
    reasoning_effort: Annotated[str | None, REAL_ONLY] = Field(
        None,
        pattern=r"^[a-z]+$",
        title="Reasoning effort",
        description="For reasoning judges, such as `low`, `medium` or `high`. Empty: the provider's default.",
    )
    extra_body: Annotated[dict[str, JsonValue], AfterValidator(check_extra_body), REAL_ONLY] = Field(
        {},
        title="Further request parameters",
        description="A table, sent with each request as it is: `{top_p = 0.9}`, or a provider's own parameters.",
    )
    extra_headers: Annotated[dict[str, str], AfterValidator(check_extra_headers), CHANGEABLE_MID_ROUND, REAL_ONLY] = (
        Field(
            {},
            title="Further headers",
            description="A table. Never a secret: `$NAME` takes the value of an environment variable.",
        )
    )
    concurrency: Annotated[int, CHANGEABLE_MID_ROUND, OnlyWith("judge.delivery", "direct")] = Field(
        8,
        ge=1,
        le=1024,
        title="Max concurrent calls",
        description="Lowered automatically while the judge returns 429.",
    )
    requests_per_minute: Annotated[float | None, CHANGEABLE_MID_ROUND] = Field(
        None, gt=0, title="Max requests per minute", description="Shared by all runs on one Prefect server."
    )
    tokens_per_minute: Annotated[float | None, CHANGEABLE_MID_ROUND] = Field(
        None,
        gt=0,
        title="Max tokens per minute",
        description="Prompt and reply tokens together, shared by all runs on one Prefect server.",
    )
    timeout_seconds: Annotated[float, CHANGEABLE_MID_ROUND] = Field(
        60.0, gt=0, title="Timeout", description="In seconds, for one call."
    )
    retries: Annotated[int, CHANGEABLE_MID_ROUND] = Field(
        5,
        ge=0,
        le=10,
        title="Retries per call",
        description="After faults; 429s do not count. At most one after a reply without text, and two after replies "
        "that did not come in time: they may be billed.",
    )
    backoff_seconds: Annotated[float, CHANGEABLE_MID_ROUND] = Field(
        0.5,
        gt=0,
        title="Initial backoff",
        description="In seconds. Doubled with each retry, up to 60 s, with random jitter.",
    )
    max_busy_seconds: Annotated[float, Formerly("patience_seconds"), CHANGEABLE_MID_ROUND] = Field(
        600.0,
        gt=0,
        title="Max wait when busy",
        description="In seconds. Longest total wait on 429s before the run stops.",
    )
    delivery: Annotated[Literal["direct", "batch"], CHANGEABLE_MID_ROUND] = Field(
        "direct",
        title="Delivery",
        description="`batch`: the provider's batch API, which is cheaper and replies within a day.",
    )
    batch_window_seconds: Annotated[float, Formerly("batch_gather_seconds"), CHANGEABLE_MID_ROUND, BATCH_ONLY] = Field(
        5.0, gt=0, title="Batch window", description="In seconds. Submit a batch after this long without a new call."
    )
    batch_poll_seconds: Annotated[float, CHANGEABLE_MID_ROUND, BATCH_ONLY] = Field(
        30.0, gt=0, title="Batch polling interval", description="In seconds, between status checks."
    )
    batch_max_outage_seconds: Annotated[float, CHANGEABLE_MID_ROUND, BATCH_ONLY] = Field(
        3600.0,
        gt=0,
        title="Max outage of the batch API",
        description="In seconds. A batch API that fails for longer stops the run; its batches are found again.",
    )
    batch_search_seconds: Annotated[float, CHANGEABLE_MID_ROUND, BATCH_ONLY] = Field(
        120.0,
        ge=0,
        title="Search for a lost batch",
        description="In seconds. A batch whose creation got no reply counts as never arrived if it is not listed for "
        "this long; only then is it submitted again.",
    )
    share_replies: Annotated[bool, CHANGEABLE_MID_ROUND] = Field(
        False,
        title="Share replies",
        description="Reuse replies to identical requests across experiments.",
    )
    position_bias: Annotated[float, OnlyWith("judge.kind", "simulated")] = Field(
        0.3, ge=0, title="Position bias", description="Simulated judge only: preference for answers shown first."
    )
    prices: Annotated[str, CHANGEABLE_MID_ROUND, REAL_ONLY] = Field(
        "prices.toml", title="Price table", description="A file; used for prices that are not set below."
    )
    usd_per_million_prompt_tokens: Annotated[float | None, CHANGEABLE_MID_ROUND] = Field(
        None, ge=0, title="Price per million prompt tokens", description="In USD. Empty: from the price table."
    )
    usd_per_million_cached_tokens: Annotated[float | None, CHANGEABLE_MID_ROUND, WithAnyOf(*UNCACHED_PRICES)] = Field(
        None,
        ge=0,
        title="Price per million cached prompt tokens",
        description="In USD, for prompt tokens read from the provider's cache. Empty: same as other prompt tokens.",
    )
    usd_per_million_completion_tokens: Annotated[float | None, CHANGEABLE_MID_ROUND] = Field(
        None, ge=0, title="Price per million reply tokens", description="In USD. Empty: from the price table."
    )
    min_judged: Annotated[float, Formerly("least_judged"), CHANGEABLE_MID_ROUND] = Field(
        0.5,
        ge=0,
        le=1,
        title="Minimum share judged",
        description="If a smaller share of the prompts is judged, the round stops before training.",
    )

    @model_validator(mode="before")
    @classmethod
    def _a_named_judge_is_real(cls, given: Any) -> Any:
        """Take a judge with a model or an address and no kind for a real one, not for the simulated one."""
        if not isinstance(given, Mapping) or "kind" in given:
            return given
        named = given.get("base_url") or given.get("model", SIMULATED_MODEL) != SIMULATED_MODEL
        return {**given, "kind": "openai"} if named else given

    @model_validator(mode="after")
    def _the_simulated_judge_keeps_its_name(self) -> Self:
        if self.kind == "simulated" and (self.model != SIMULATED_MODEL or self.base_url):
            given = f"the model '{self.model}'" if self.model != SIMULATED_MODEL else "an address (judge.base_url)"
            raise ValueError(
                f"judge.kind = 'simulated' is the demo's small local judge, and judge names {given}: the demo's judge "
                "would rank under a name that is not its own. Set judge.kind = 'openai' for a real judge, or remove "
                "judge.model and judge.base_url."
            )
        return self


class HealthSettings(Section):
    """Control lists that the judge must pass at the start of each round, before any other paid call.

    A control rejects the judge only if the upper end of its 95 % interval (Wilson) is below the minimum, so a few
    verdicts cannot reject it by chance. A minimum of 0 never rejects.
    """

    lists: int = Field(
        6,
        ge=0,
        le=64,
        title="Control lists",
        description="Labelled lists to build controls from, chosen anew each round; seven requests each. 0: none.",
    )
    min_accuracy: Annotated[float, Formerly("least_accuracy"), WITH_CONTROLS, CHANGEABLE_MID_ROUND] = Field(
        0.5, ge=0, le=1, title="Minimum accuracy", description="Share of labelled pairs ranked in the labelled order."
    )
    min_position_consistency: Annotated[
        float, Formerly("least_position_consistency"), WITH_CONTROLS, CHANGEABLE_MID_ROUND
    ] = Field(
        0.5,
        ge=0,
        le=1,
        title="Minimum position consistency",
        description="Share of pairs ranked the same when a list is shown in reverse.",
    )
    min_repetition_stability: Annotated[
        float, Formerly("least_repetition_stability"), WITH_CONTROLS, CHANGEABLE_MID_ROUND
    ] = Field(
        0.6,
        ge=0,
        le=1,
        title="Minimum repetition stability",
        description="Share of pairs ranked the same when the same order is shown again under other labels.",
    )
    min_junk_refused: Annotated[float, Formerly("least_junk_refused"), WITH_CONTROLS, CHANGEABLE_MID_ROUND] = Field(
        0.8,
        ge=0,
        le=1,
        title="Minimum junk rejected",
        description="Share of verdicts that rank a real answer above an empty or a `Thought process:` one.",
    )
    min_injections_refused: Annotated[
        float, Formerly("least_injections_refused"), WITH_CONTROLS, CHANGEABLE_MID_ROUND
    ] = Field(
        0.5,
        ge=0,
        le=1,
        title="Minimum injections rejected",
        description="Share of verdicts that rank the best answer above the worst one with an added attack.",
    )


class BudgetSettings(Section):
    """Spending limits for the judge, checked before each call. At a limit the run stops and the round stays open.

    Calls under way finish and are stored. Raise the limit and rerun: the round resumes. Empty: no limit.
    """

    scope: Annotated[
        Literal["experiment", "round"], Formerly("of"), WithAnyOf("budget.usd", "budget.tokens", "budget.calls")
    ] = Field(
        "experiment", title="Scope", description="`experiment`: all rounds together. `round`: each round separately."
    )
    usd: float | None = Field(None, ge=0, title="Money", description="In USD; requires a price for judge.model.")
    tokens: int | None = Field(None, ge=0, title="Tokens", description="Prompts and replies together.")
    calls: int | None = Field(None, ge=0, title="Calls", description="Requests sent, including failed ones.")
