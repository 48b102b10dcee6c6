"""Settings of the white-box model, and of the vLLM engine that may serve it."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator

from cyclealign.config.former_names import Formerly
from cyclealign.config.mid_round import CHANGEABLE_MID_ROUND, FIXED_MID_ROUND
from cyclealign.config.no_effect import NotWith, OnlyWith, OnlyWithHubId
from cyclealign.config.section import Section

MANAGED_ONLY = OnlyWith("engine.base_url", None)  # a server that the run starts
EXISTING_ONLY = NotWith("engine.base_url", None)
# Parameters of transformers' `apply_chat_template` that decide about the form of the prompt, not its content.
RESERVED_TEMPLATE_ARGUMENTS = {
    "add_generation_prompt",
    "chat_template",
    "continue_final_message",
    "conversation",
    "max_length",
    "messages",
    "padding",
    "return_assistant_tokens_mask",
    "return_dict",
    "return_tensors",
    "tokenize",
    "tokenizer_kwargs",
    "truncation",
}


class PolicySettings(Section):
    """The white-box model to align."""

    form_first = ("model", "max_new_tokens", "answers", "temperature")

    kind: Annotated[Literal["transformers", "vllm"], CHANGEABLE_MID_ROUND] = Field(
        "transformers",
        title="Kind",
        description="`transformers`: in this process. `vllm`: served by vLLM, as set in section `engine`.",
    )
    model: Annotated[str, FIXED_MID_ROUND] = Field(
        "demo", title="Model", description="A local folder, a Hugging Face id, or `demo`."
    )
    revision: Annotated[str | None, FIXED_MID_ROUND, OnlyWithHubId("policy.model")] = Field(
        None, title="Revision", description="A commit of the Hugging Face model."
    )
    trust_remote_code: Annotated[str | None, Formerly("run_code_of"), CHANGEABLE_MID_ROUND] = Field(
        None,
        title="Trust remote code",
        description="Repeat the model's name to allow the Python code that comes with it.",
    )
    answers: int = Field(4, ge=2, le=16, title="Answers per prompt", description="Candidates that the judge ranks.")
    top_up: int = Field(
        2,
        ge=0,
        le=16,
        title="Top-up draws",
        description="If answers to a prompt are identical, resample them at most this many times until all differ.",
    )
    temperature: float = Field(1.0, gt=0, le=5, title="Temperature", description="Of the answers' sampling.")
    top_p: float = Field(
        1.0, gt=0, le=1, title="Top-p", description="Sample from the likeliest tokens that add up to this. 1: from all."
    )
    max_new_tokens: int = Field(48, ge=1, title="Max new tokens", description="Per answer.")
    batch_prompts: Annotated[int, CHANGEABLE_MID_ROUND] = Field(
        8, ge=1, title="Prompts per batch", description="Lower it to save memory."
    )
    system_prompt: Annotated[str | None, FIXED_MID_ROUND] = Field(
        None,
        min_length=1,
        title="System prompt",
        description="For prompts without a system message of their own. Before the first user turn, if the model's "
        "chat template has no system role. The judge is not shown it.",
    )
    thinking: Literal["strip", "keep"] = Field(
        "strip",
        title="Thoughts",
        description="Of a model that reasons before it answers. `strip`: the judge sees, and training learns, the "
        "answer after the thought. `keep`: the thought is part of the answer.",
    )
    chat_template: Annotated[str | None, FIXED_MID_ROUND] = Field(
        None,
        title="Chat template file",
        description="A Jinja file in place of the tokenizer's own template, or for a model that has none.",
    )
    chat_template_kwargs: Annotated[dict[str, JsonValue], FIXED_MID_ROUND] = Field(
        {},
        title="Chat template variables",
        description="Passed to the template, for example { enable_thinking = false }.",
    )
    end_tokens: tuple[str, ...] = Field(
        (),
        title="End tokens",
        description='That end an answer besides the model\'s own, each a single token, for example ["\\n"].',
    )
    max_truncated: Annotated[float, Formerly("most_cut"), CHANGEABLE_MID_ROUND] = Field(
        0.5,
        ge=0,
        le=1,
        title="Maximum share truncated",
        description="If more answers are cut at max_new_tokens, the round stops with a message.",
    )

    @field_validator("chat_template_kwargs")
    @classmethod
    def _template_arguments_are_free(cls, given: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if reserved := RESERVED_TEMPLATE_ARGUMENTS & given.keys():
            raise ValueError(f"{', '.join(sorted(reserved))} cannot be set: the run itself passes it to the template.")
        return given

    @property
    def remote_code_trusted(self) -> bool:
        """Return whether code that comes with the model may run: the user has repeated the name of this very model."""
        return self.trust_remote_code is not None and self.trust_remote_code == self.model


class EngineSettings(Section):
    """vLLM, if `policy.kind` is `vllm`: a server started for the run, or an existing one."""

    base_url: str | None = Field(
        None,
        title="Address",
        description="Of an existing vLLM server, such as http://127.0.0.1:8000/v1. Empty: start one on this machine.",
    )
    api_key_variable: Annotated[str, EXISTING_ONLY] = Field(
        "VLLM_API_KEY",
        title="API key variable",
        description="The *name* of the environment variable that holds the key of the server at `base_url`.",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
    )
    served_model: Annotated[str | None, EXISTING_ONLY] = Field(
        None, title="Served model name", description="Of the base model at `base_url`. Empty: the first one listed."
    )
    python: Annotated[str, MANAGED_ONLY] = Field(
        ".venv-vllm/bin/python",
        title="Python interpreter",
        description="With vLLM installed; `make vllm` creates this one.",
    )
    port: Annotated[int, MANAGED_ONLY] = Field(
        0, ge=0, le=65535, title="Port", description="On the loopback address. 0: any free port."
    )
    dtype: str = Field(
        "auto", title="Precision", description="`auto`: the model's own on a GPU, float32 on a CPU, as in training."
    )
    context: Annotated[int | None, MANAGED_ONLY] = Field(
        None, ge=16, title="Context length", description="In tokens. Empty: the model's own."
    )
    gpu_memory: Annotated[float | None, MANAGED_ONLY] = Field(
        None, gt=0, le=1, title="GPU memory share", description="Empty: vLLM's default."
    )
    cpu_cache_gib: Annotated[int, MANAGED_ONLY] = Field(1, ge=1, title="CPU KV cache", description="In GiB.")
    flags: Annotated[tuple[str, ...], MANAGED_ONLY] = Field(
        (),
        title="Extra vLLM flags",
        description='Passed through unchanged, for example ["--tensor-parallel-size", "4"].',
    )
    rest: Annotated[Literal["auto", "level_1", "level_2", "stop", "stay"], MANAGED_ONLY] = Field(
        "auto",
        title="While training runs",
        description="`level_1`: sleep, weights moved to host memory. `level_2`: sleep, weights dropped. `stop`: end "
        "the server. `stay`: keep running. `auto`: `level_1` on a GPU, `stop` on a CPU.",
    )
    start_seconds: Annotated[float, MANAGED_ONLY] = Field(
        900.0, gt=0, title="Startup timeout", description="In seconds."
    )
    timeout_seconds: float = Field(600.0, gt=0, title="Timeout", description="In seconds, for one request.")
    restarts: Annotated[int, MANAGED_ONLY] = Field(
        2, ge=0, title="Restarts", description="Of an engine that exits during a round."
    )
    tolerance: float | None = Field(
        None,
        gt=0,
        title="Attestation tolerance",
        description="Mean difference between the engine's and the trainer's log-probs of a probe, in nats per token. "
        "Empty: 0.001 in float32, otherwise 0.05.",
    )
