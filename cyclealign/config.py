"""Every setting, with a vetted default. Loads no heavy library; the same models draw the form in the Prefect UI."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cyclealign.errors import BadConfig


class Section(BaseModel):
    """A group of settings; a key that is not a setting is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PromptSettings(Section):
    """Which prompts a round draws."""

    set_name: str = Field("demo", title="Prompt set", description="The name given to `cyclealign prompts import`.")
    per_round: int = Field(48, ge=1, title="Prompts per round", description="Fresh ones each round.")
    held_out: int = Field(24, ge=1, title="Held-out prompts", description="For the win rate; never trained on.")
    too_long: Literal["refuse", "skip"] = Field(
        "refuse", title="Prompts over the context", description="Stop with a message, or set them aside and go on."
    )


class PolicySettings(Section):
    """The white-box model that is aligned."""

    kind: Literal["transformers", "vllm"] = Field(
        "transformers",
        title="Kind",
        description="`transformers`: in this process. `vllm`: served by vLLM, as the section `engine` says.",
    )
    model: str = Field("demo", title="Model", description="A local folder, a Hugging Face id, or `demo`.")
    revision: str | None = Field(None, title="Revision", description="A commit of the Hugging Face model.")
    run_code_of: str | None = Field(
        None,
        title="Model whose own code may run",
        description="The model's name once more, where it comes with Python code that you trust.",
    )
    answers: int = Field(4, ge=2, le=16, title="Answers per prompt")
    top_up: int = Field(
        2,
        ge=0,
        le=16,
        title="Draws to top up",
        description="Where answers to a prompt are equal: draw as many again, at most so often, until all differ.",
    )
    temperature: float = Field(1.0, gt=0, le=5, title="Temperature")
    top_p: float = Field(1.0, gt=0, le=1, title="Top-p")
    max_new_tokens: int = Field(48, ge=1, title="Longest answer", description="In tokens.")
    batch_prompts: int = Field(8, ge=1, title="Prompts per batch", description="Less needs less memory.")
    most_cut: float = Field(
        0.5, ge=0, le=1, title="Largest share of cut answers", description="Over it the round stops with a message."
    )

    @property
    def own_code(self) -> bool:
        """Whether code that comes with the model may run: the user has named this very model once more."""
        return self.run_code_of is not None and self.run_code_of == self.model


class EngineSettings(Section):
    """vLLM, where `policy.kind` is `vllm`: a server that is started for the run, or one that is there."""

    base_url: str | None = Field(
        None,
        title="Address",
        description="Of a vLLM server that is there, such as http://127.0.0.1:8000/v1. Empty: one is started here.",
    )
    api_key_variable: str = Field(
        "VLLM_API_KEY",
        title="Variable with the key",
        description="The *name* of the environment variable that holds the key of the server at `base_url`.",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
    )
    served_model: str | None = Field(
        None, title="Name on that server", description="Of the base model at `base_url`. Empty: the first it lists."
    )
    python: str = Field(
        ".venv-vllm/bin/python", title="Interpreter", description="That has vLLM; `make vllm` makes this one."
    )
    port: int = Field(0, ge=0, le=65535, title="Port", description="On the loopback address. 0: any that is free.")
    dtype: str = Field(
        "auto", title="Precision", description="`auto`: the model's own on a GPU, float32 on a CPU, as in training."
    )
    context: int | None = Field(None, ge=16, title="Context", description="In tokens. Empty: the model's own.")
    gpu_memory: float | None = Field(
        None, gt=0, le=1, title="Share of the GPU's memory", description="Empty: vLLM's own default."
    )
    cpu_cache_gib: int = Field(1, ge=1, title="KV cache on a CPU", description="GiB.")
    flags: tuple[str, ...] = Field(
        (),
        title="More flags of vLLM",
        description='Passed on as they are, for example ["--tensor-parallel-size", "4"].',
    )
    rest: Literal["auto", "level_1", "level_2", "stop", "stay"] = Field(
        "auto",
        title="While training runs",
        description="`level_1`: sleep, weights to the host's memory; `level_2`: weights dropped; `stop`; `stay`. "
        "`auto`: `level_1` on a GPU, `stop` on a CPU.",
    )
    start_seconds: float = Field(900.0, gt=0, title="Longest start", description="Seconds.")
    timeout_seconds: float = Field(600.0, gt=0, title="Time-out", description="Seconds for one request.")
    restarts: int = Field(2, ge=0, title="Restarts", description="Of an engine that ended in mid-round.")
    tolerance: float | None = Field(
        None,
        gt=0,
        title="Tolerance of the attestation",
        description="Mean difference between the engine's and the trainer's log-probs of a probe, nats per token. "
        "Empty: 0.001 in float32, else 0.05.",
    )


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


class TrainingSettings(Section):
    """How the rankings change the policy."""

    method: Literal["lora", "full"] = Field(
        "lora",
        title="Method",
        description="`lora`: an adapter beside the model's weights. `full`: all weights, a folder of the model's size "
        "each round. One for all rounds of an experiment.",
    )
    objective: Literal["rrhf", "pro", "dpo"] = Field("rrhf", title="Objective")
    target: Literal["judge", "agreement"] = Field("judge", title="Ranking to learn")
    weight: Literal["uniform", "agreement", "steadiness"] = Field("uniform", title="Weight of a prompt")
    least_preference: float = Field(
        0.6,
        ge=0.5,
        le=1,
        title="Least preference",
        description="Share of the verdicts that must agree on a pair for it to be learnt; ties are 0.5.",
    )
    sft_weight: float | None = Field(
        None, ge=0, title="Weight of the SFT term", description="Empty: the paper's own (RRHF 1, PRO 0.05 (n-1)²)."
    )
    dpo_beta: float = Field(0.1, gt=0, title="DPO beta")
    learning_rate: float = Field(
        1e-4, gt=0, title="Learning rate", description="For `lora`; `full` wants a smaller one, such as 1e-5 or 1e-6."
    )
    epochs: int = Field(1, ge=1, title="Epochs")
    prompts_per_step: int = Field(8, ge=1, title="Prompts per step")
    lora_rank: int = Field(16, ge=1, title="LoRA rank")
    lora_alpha: float = Field(32.0, gt=0, title="LoRA alpha")
    process: Literal["own", "same"] = Field(
        "own",
        title="Process",
        description="`own`: under `accelerate launch`; its memory goes back at the end. `same`: for small models.",
    )
    accelerate_config: str | None = Field(None, title="Accelerate config file", description="For several GPUs.")

    @model_validator(mode="after")
    def _weights_need_a_listwise_loss(self) -> Self:
        if self.objective == "dpo" and self.weight != "uniform":
            raise ValueError("training.weight must be 'uniform' with DPO: TRL's trainer weighs all pairs alike.")
        return self


class EvaluationSettings(Section):
    """What is measured at the end of a round, on prompts and lists that nobody trains on."""

    answers: int = Field(1, ge=1, le=16, title="Answers per held-out prompt")
    labelled_lists: int = Field(
        24,
        ge=0,
        title="Labelled lists",
        description="For the judge's accuracy; never trained on.",
    )
    gold: Literal["none", "demo"] = Field(
        "none", title="Gold quality", description="`demo`: the demo world's hidden quality, for the report only."
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


class AcceptanceSettings(Section):
    """When a round is accepted; otherwise it is rolled back whole."""

    least_win_rate: float = Field(0.5, ge=0, le=1, title="Least win rate against the parent")
    most_kl: float | None = Field(None, gt=0, title="Largest KL from the base", description="Nats per token.")


class ExperimentConfig(Section):
    """One experiment: a line of rounds that start from one base model."""

    experiment: str = Field(
        "demo", title="Experiment", description="Its name in the history.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
    )
    rounds: int = Field(1, ge=1, le=100, title="Rounds", description="How many to advance by.")
    until: int | None = Field(
        None, ge=1, title="Until round", description="Or: stop once the experiment has this many rounds."
    )
    seed: int = Field(0, ge=0, title="Seed")
    templates: str = Field("prompts", title="Folder of templates")
    prompts: Annotated[PromptSettings, Field(title="Prompts")] = PromptSettings()
    policy: Annotated[PolicySettings, Field(title="Policy (white-box)")] = PolicySettings()
    engine: Annotated[EngineSettings, Field(title="Engine (vLLM)")] = EngineSettings()
    judge: Annotated[JudgeSettings, Field(title="Judge (black-box)")] = JudgeSettings()
    health: Annotated[HealthSettings, Field(title="Health of the judge")] = HealthSettings()
    budget: Annotated[BudgetSettings, Field(title="Budget")] = BudgetSettings()
    demonstrations: Annotated[DemonstrationSettings, Field(title="Demonstrations")] = DemonstrationSettings()
    training: Annotated[TrainingSettings, Field(title="Training")] = TrainingSettings()
    evaluation: Annotated[EvaluationSettings, Field(title="Evaluation")] = EvaluationSettings()
    acceptance: Annotated[AcceptanceSettings, Field(title="Acceptance")] = AcceptanceSettings()
    review: Annotated[ReviewSettings, Field(title="Review by people")] = ReviewSettings()

    @model_validator(mode="after")
    def _doubt_needs_two_verdicts(self) -> Self:
        if self.review.lists and self.judge.way == "listwise" and self.judge.orders == 1:
            raise ValueError(
                "review.lists needs judge.orders of at least 2: a judge that is asked once a list always looks steady, "
                "so that no list would be put to people."
            )
        return self


Settings = TypeVar("Settings", bound=Section)


def load_config(path: Path) -> ExperimentConfig:
    """Read an experiment's TOML file; errors as in `load_settings`."""
    return load_settings(path, ExperimentConfig)


def load_settings(path: Path, model: type[Settings]) -> Settings:
    """Read a TOML file.

    Raises:
        BadConfig: the file cannot be read, or a key or value is wrong; the message names file and key.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"{path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: not a TOML file: {error}") from error
    return checked_settings(raw, str(path), model)


def checked(raw: Mapping[str, object], where: str) -> ExperimentConfig:
    """An experiment's settings from plain values; errors as in `checked_settings`."""
    return checked_settings(raw, where, ExperimentConfig)


def checked_settings(raw: Mapping[str, object], where: str, model: type[Settings]) -> Settings:
    """Settings from plain values.

    Raises:
        BadConfig: a key or value is wrong; the message names it and ``where`` it came from.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise BadConfig("\n".join(_complaint(where, problem) for problem in error.errors())) from error


def _complaint(path: str, problem: object) -> str:
    assert isinstance(problem, dict)
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown setting '{key}'. See docs/configuration.md for every setting."
    if key == "judge.base_url":  # a password in it must not be found again in a log
        return f"{path}: '{key}' is an address such as https://api.openai.com/v1, without user, password or '?'."
    if "api_key" in key:  # whoever pastes a key here must not find it again in a log
        return f"{path}: '{key}' is the name of the variable or block that holds the key, never the key itself."
    if problem["type"] == "value_error":
        return f"{path}: {problem['msg'].removeprefix('Value error, ')}"
    return f"{path}: '{key}': {problem['msg']} (given: {problem['input']!r})"
