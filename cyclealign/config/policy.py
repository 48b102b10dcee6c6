"""Settings of the white-box model: its prompts, its answers, the engine that serves it, and how it is trained."""

from typing import Literal, Self

from pydantic import Field, model_validator

from cyclealign.config.section import Section


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
    weight: Literal["uniform", "agreement", "steadiness"] | None = Field(
        None,
        title="Weight of a prompt",
        description="`steadiness`: how far the judge's verdicts on it agree. `agreement`: how far judge and policy do. "
        "Empty: `steadiness`, and `uniform` with DPO.",
    )
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
        if self.objective == "dpo" and self.weighing != "uniform":
            raise ValueError("training.weight must be 'uniform' with DPO: TRL's trainer weighs all pairs alike.")
        return self

    @property
    def weighing(self) -> Literal["uniform", "agreement", "steadiness"]:
        """The weight of a prompt, chosen or by default."""
        return self.weight or ("uniform" if self.objective == "dpo" else "steadiness")
