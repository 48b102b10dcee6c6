"""Settings of fine-tuning."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from cyclealign.config.former_names import Formerly
from cyclealign.config.identity import ADDED_LATER
from cyclealign.config.mid_round import CHANGEABLE_MID_ROUND, FIXED_MID_ROUND
from cyclealign.config.no_effect import NotWith, OnlyWith
from cyclealign.config.section import Section

# The objectives of `cyclealign.training.objectives`, by trainer; repeated here, since that module loads torch.
ListwiseObjective = Literal["rrhf", "pro", "sft", "simpo", "list_dpo", "lipo"]
PairwiseObjective = Literal["dpo", "ipo"]
WITH_SFT = ("rrhf", "pro", "sft")
WITH_BETA = ("simpo", "list_dpo", "lipo", "dpo", "ipo")
WITHOUT_REFERENCE = ("rrhf", "pro", "sft", "simpo")
OF_PAIRS = ("rrhf", "sft", "simpo", "lipo", "dpo", "ipo")  # the others learn whole orders
# Names of transformers: the schedules that need no further arguments, and the optimizers that need no other package
# than bitsandbytes.
Scheduler = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"
]
BitsAndBytes = Literal[
    "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit", "lion_32bit", "lion_8bit", "paged_lion_8bit"
]
Optimizer = Literal["adamw_torch_fused", "adamw_torch", "adafactor", "adagrad", "rmsprop", "sgd", BitsAndBytes]
Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]


class TrainingSettings(Section):
    """Fine-tuning of the policy on the rankings."""

    form_first = ("objective", "learning_rate", "epochs")

    method: Annotated[Literal["lora", "full"], FIXED_MID_ROUND] = Field(
        "lora",
        title="Method",
        description="`lora`: an adapter on top of the model's weights. `full`: all weights, saved at the model's full "
        "size each round. The same for all rounds of an experiment.",
    )
    objective: Literal[ListwiseObjective, PairwiseObjective] = Field(
        "rrhf",
        title="Objective",
        description="Ranking by mean log-prob, with an SFT term: `rrhf`, `pro`; without one: `simpo`. The best answer "
        "alone: `sft`. Relative to the parent: `list_dpo`, `lipo` on lists, `dpo`, `ipo` on pairs. docs/methods.md "
        "compares them.",
    )
    target: Literal["judge", "agreement"] = Field(
        "judge",
        title="Target ranking",
        description="`judge`: the judge's. `agreement`: agreed answers keep the policy's places.",
    )
    weight: Literal["uniform", "agreement", "steadiness"] | None = Field(
        None,
        title="Prompt weight",
        description="`steadiness`: agreement among the judge's verdicts. `agreement`: agreement of judge and policy. "
        "Empty: `steadiness`, or `uniform` with DPO and IPO.",
    )
    min_preference: Annotated[
        float,
        Formerly("least_preference"),
        OnlyWith(
            "training.objective",
            *OF_PAIRS,
            remark=": it learns whole orders, and the setting only leaves out lists without a decided pair",
        ),
    ] = Field(
        0.6,
        ge=0.5,
        le=1,
        title="Minimum preference",
        description="Train on a pair only if at least this share of the verdicts agrees on it; a tie counts 0.5.",
    )
    sft_weight: Annotated[float | None, OnlyWith("training.objective", *WITH_SFT)] = Field(
        None, ge=0, title="SFT weight", description="Empty: the paper's value (RRHF and SFT 1, PRO 0.05 (n-1)²)."
    )
    sft_reduction: Annotated[
        Literal["sum", "mean"],
        ADDED_LATER,
        OnlyWith("training.objective", *WITH_SFT),
        NotWith("training.sft_weight", 0.0),
    ] = Field(
        "sum",
        title="SFT reduction",
        description="Of the SFT term over an answer's tokens. `sum`: the papers'; it outweighs the ranking the more, "
        "the longer the answer. `mean`: on the ranking's scale.",
    )
    beta: Annotated[float | None, Formerly("dpo_beta"), OnlyWith("training.objective", *WITH_BETA)] = Field(
        None,
        gt=0,
        title="Beta",
        description="Scale of the rewards. DPO, IPO, LiPO: low values stray further from the parent. Empty: 0.1; for "
        "SimPO 2.",
    )
    gamma: Annotated[float | None, ADDED_LATER, OnlyWith("training.objective", "simpo")] = Field(
        None, ge=0, title="Gamma", description="SimPO's target margin between the rewards of a pair. Empty: 1."
    )
    kl_weight: Annotated[float, ADDED_LATER] = Field(
        0.0,
        ge=0,
        title="KL weight",
        description="Weight of the KL divergence from the parent, in nats per token, added to any objective. 0: none.",
    )
    learning_rate: float = Field(
        1e-4, gt=0, title="Learning rate", description="For `lora`; use 1e-5 or 1e-6 for `full`."
    )
    epochs: Annotated[int, OnlyWith("training.max_steps", None)] = Field(
        1, ge=1, title="Epochs", description="Passes over the prompts of the round."
    )
    max_steps: Annotated[int | None, ADDED_LATER] = Field(
        None, ge=1, title="Maximum steps", description="Number of optimizer steps, in place of `epochs`."
    )
    prompts_per_step: int = Field(
        8, ge=1, title="Prompts per step", description="Lists of an optimizer step; with DPO and IPO, pairs."
    )
    tokens_at_once: Annotated[int | None, ADDED_LATER] = Field(
        None,
        ge=1,
        title="Tokens at once",
        description="Maximum tokens, padding included, of one forward pass. Larger steps take several, larger lists "
        "are scored in parts; the gradient stays the same up to rounding. Empty: measured on a GPU, with "
        "the first step; 8192 on a CPU, and at least the longest answer with its prompt; without limit under FSDP and "
        "DeepSpeed. Halved if a GPU's memory runs out.",
    )
    shared_prompt: Annotated[Literal["auto", "off"], ADDED_LATER] = Field(
        "auto",
        title="Shared prompt",
        description="`auto`: compute each prompt once for all of its answers in a pass, with the same gradient, if a "
        "check at the first step confirms it for this model. `off`: each answer with its prompt.",
    )
    lr_scheduler_type: Annotated[Scheduler, ADDED_LATER] = Field(
        "linear", title="Learning rate schedule", description="From the learning rate on; most end at 0."
    )
    warmup_steps: Annotated[float, ADDED_LATER] = Field(
        0.0,
        ge=0,
        title="Warm-up",
        description="Steps of a rising learning rate; below 1: a share of all steps.",
    )
    weight_decay: Annotated[float, ADDED_LATER] = Field(0.0, ge=0, title="Weight decay", description="Of AdamW.")
    max_grad_norm: Annotated[float, ADDED_LATER] = Field(
        1.0, ge=0, title="Maximum gradient norm", description="Larger gradients are scaled down to it. 0: never."
    )
    optim: Annotated[Optimizer, ADDED_LATER] = Field(
        "adamw_torch_fused",
        title="Optimizer",
        description="By its name in transformers; those in 8 bits and `paged` need bitsandbytes and a GPU.",
    )
    gradient_checkpointing: Annotated[bool | None, ADDED_LATER] = Field(
        None,
        title="Gradient checkpointing",
        description="Compute activations again instead of keeping them: less memory, more time. Empty: on a GPU.",
    )
    bf16: Annotated[bool | None, ADDED_LATER] = Field(
        None, title="bfloat16", description="Compute in bfloat16. Empty: on a GPU that has it, unless `fp16` is on."
    )
    fp16: Annotated[bool, ADDED_LATER] = Field(
        False, title="float16", description="Compute in float16 with a scaled loss, for GPUs without bfloat16."
    )
    save_every: Annotated[int, ADDED_LATER] = Field(
        50,
        ge=0,
        title="Save every",
        description="Steps between checkpoints. A training that was cut off goes on from the last one, deleted at the "
        "end. 0: no checkpoints; begin anew.",
    )
    report_to: Annotated[tuple[Tracker, ...], ADDED_LATER] = Field(
        (),
        title="Report to",
        description="Trackers of the figures of each step, each an installed package. Log in by their own "
        "command: environment variables with keys are not passed to training.",
    )
    lora_rank: Annotated[int, OnlyWith("training.method", "lora")] = Field(
        16, ge=1, title="LoRA rank", description="The same for all rounds of an experiment."
    )
    lora_alpha: Annotated[float, OnlyWith("training.method", "lora")] = Field(
        32.0, gt=0, title="LoRA alpha", description="The adapter is scaled by alpha / rank."
    )
    lora_targets: Annotated[tuple[str, ...], ADDED_LATER, OnlyWith("training.method", "lora")] = Field(
        (),
        title="LoRA targets",
        description="Layers that the adapter changes: `attention`, `all-linear`, or names such as `q_proj`. Empty: the "
        "parent's; for a first adapter all linear layers of the language model, in a mixture of experts the attention. "
        "Never the output head.",
    )
    # Without dropout where there is a reference, as in TRL's DPO: policy and reference would differ by it.
    lora_dropout: Annotated[
        float,
        ADDED_LATER,
        OnlyWith("training.method", "lora"),
        OnlyWith("training.objective", *WITHOUT_REFERENCE),
    ] = Field(0.0, ge=0, lt=1, title="LoRA dropout", description="Of the adapter's input, while training.")
    use_rslora: Annotated[bool, ADDED_LATER, OnlyWith("training.method", "lora")] = Field(
        False,
        title="Rank-stabilised LoRA",
        description="Scale by alpha / sqrt(rank) instead of alpha / rank, for high ranks.",
    )
    quantise: Annotated[Literal["nf4"] | None, ADDED_LATER] = Field(
        None,
        title="Quantise",
        description="`nf4`: QLoRA. The base model is held in 4 bits while an adapter is trained; the adapter is served "
        "on the unquantised base. Needs a GPU and the package bitsandbytes. Not with `full`.",
    )
    modules_to_save: Annotated[tuple[str, ...], ADDED_LATER, OnlyWith("training.method", "lora")] = Field(
        (),
        title="Modules to save",
        description="Modules that are trained whole and saved with the adapter, such as `embed_tokens`. Not with vLLM.",
    )
    process: Annotated[Literal["own", "same"], CHANGEABLE_MID_ROUND] = Field(
        "own",
        title="Process",
        description="`own`: under `accelerate launch`; memory is freed at the end. `same`: for small models.",
    )
    accelerate_config: Annotated[str | None, OnlyWith("training.process", "own"), CHANGEABLE_MID_ROUND] = Field(
        None, title="Accelerate config file", description="For several GPUs."
    )

    @field_validator("lora_targets", mode="before")
    @classmethod
    def _one_name_is_a_list(cls, given: object) -> object:
        return (given,) if isinstance(given, str) and given else given

    @field_validator("lora_targets")
    @classmethod
    def _groups_stand_alone(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        if len(targets) > 1 and {"attention", "all-linear"} & set(targets):
            raise ValueError("'attention' and 'all-linear' stand alone: give one of them, or names of layers.")
        return targets

    @model_validator(mode="after")
    def _quantised_weights_are_not_trained(self) -> Self:
        if self.quantise and self.method == "full":
            raise ValueError(
                "training.quantise is for adapters: weights in 4 bits cannot be trained themselves. Remove it, or set "
                "training.method to 'lora' in a new experiment."
            )
        return self

    @model_validator(mode="after")
    def _sft_has_one_term(self) -> Self:
        if self.objective == "sft" and self.sft_weight == 0:
            raise ValueError(
                "training.objective 'sft' has no other term than SFT: training.sft_weight must be above 0."
            )
        return self

    @model_validator(mode="after")
    def _one_precision(self) -> Self:
        if self.bf16 and self.fp16:
            raise ValueError("training.bf16 and training.fp16 exclude each other: choose one.")
        return self

    @model_validator(mode="after")
    def _weights_need_a_listwise_loss(self) -> Self:
        if self.pairwise and self.weighing != "uniform":
            name = self.objective.upper()
            raise ValueError(f"training.weight must be 'uniform' with {name}: its trainer weights all pairs equally.")
        return self

    @property
    def weighing(self) -> Literal["uniform", "agreement", "steadiness"]:
        """The weight of a prompt, chosen or by default."""
        return self.weight or ("uniform" if self.pairwise else "steadiness")

    @property
    def pairwise(self) -> bool:
        """Return whether the objective trains on preference pairs, not on ranked lists."""
        return self.objective in get_args(PairwiseObjective)
