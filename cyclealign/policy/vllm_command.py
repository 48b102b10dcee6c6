"""The command line of a managed vLLM server: interpreter, flags, and the flags that users may not set."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from cyclealign.config import EngineSettings
from cyclealign.errors import BadConfig, EngineFailed

HOST = "127.0.0.1"
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # accepted by --max-lora-rank
# Two, so that requests under way finish with the previous adapter while new ones use the next.
MAX_LOADED_ADAPTERS = 2
# vLLM 0.32 on a CPU crashes at a chunked prefill of a request with a seed: it cannot restore the generator's state.
CPU_FLAGS = ("--enforce-eager", "--no-enable-chunked-prefill")
# The run's safety and the truth of its log-probs depend on these; engine.flags may not change them.
RESERVED_FLAGS = (
    "model",
    "host",
    "port",
    "uds",
    "api-key",
    "served-model-name",
    "trust-remote-code",
    "no-trust-remote-code",
    "load-format",
    "middleware",
    "config",
    "logprobs-mode",
    "generation-config",
    "max-lora-rank",
    "lora-target-modules",
)


@dataclass(frozen=True)
class ServedModel:
    """The model of a server, and the adapters that it must be able to load.

    Attributes:
        model: an absolute folder, or a Hugging Face id.
        lora_rank: maximum rank of the adapters. None: no adapters.
        lora_modules: layers that adapters may change, without the output head: with the head among them, vLLM's
            prompt log-probs fail on a CPU, and elsewhere would be taken at wrong positions.
        multimodal: the checkpoint has a vision tower, which is left out: the policy's prompts are texts.
    """

    model: str
    revision: str | None
    lora_rank: int | None
    lora_modules: tuple[str, ...]
    trust_remote_code: bool = False
    multimodal: bool = False


def on_gpu() -> bool:
    """Return whether this machine has an NVIDIA GPU, by the driver's tool: vLLM may be the only CUDA library here."""
    return shutil.which("nvidia-smi") is not None


def runs_on_cpu(settings: EngineSettings) -> bool:
    """Return whether the engine is a managed server on a machine without a GPU."""
    return settings.base_url is None and not on_gpu()


def precision(settings: EngineSettings) -> str:
    """Return the engine's dtype; on a CPU, "auto" is float32, the precision of training there."""
    return "float32" if settings.dtype == "auto" and not on_gpu() else settings.dtype


def training_mode(settings: EngineSettings) -> str:
    """Return the engine's state during training, with "auto" resolved; a CPU has no sleep mode that frees memory."""
    if settings.rest == "auto":
        return "level_1" if on_gpu() else "stop"
    return settings.rest


def server_command(settings: EngineSettings, served: ServedModel, name: str, port: int) -> list[str]:
    """Return the command of a server that listens on the loopback address and serves the model under ``name``.

    Raises:
        BadConfig: engine.flags contains a reserved flag.
        EngineFailed: the interpreter is missing.
    """
    options = ["--dtype", precision(settings), "--disable-uvicorn-access-log"]
    options += ["--enable-sleep-mode"] if on_gpu() and training_mode(settings).startswith("level") else []
    options += [] if on_gpu() else list(CPU_FLAGS)
    options += ["--language-model-only"] if served.multimodal else []
    options += ["--max-model-len", str(settings.context)] if settings.context else []
    options += ["--gpu-memory-utilization", str(settings.gpu_memory)] if settings.gpu_memory else []
    options += ["--revision", served.revision, "--tokenizer-revision", served.revision] if served.revision else []
    # Last, since the last occurrence of a flag wins.
    fixed = ["--model", served.model, "--served-model-name", name, "--host", HOST, "--port", str(port)]
    fixed += ["--load-format", "safetensors", "--logprobs-mode", "raw_logprobs", *_lora_flags(served)]
    fixed += ["--generation-config", "vllm", "--middleware", "require_key.RequireKey"]
    fixed += ["--trust-remote-code" if served.trust_remote_code else "--no-trust-remote-code"]
    module = ["-m", "vllm.entrypoints.openai.api_server"]
    return [interpreter_path(settings), *module, *options, *checked_flags(settings), *fixed]


def _lora_flags(served: ServedModel) -> list[str]:
    """Return the flags that enable adapters; none for full weights."""
    if served.lora_rank is None:
        return []
    rank = next((rank for rank in LORA_RANKS if rank >= served.lora_rank), LORA_RANKS[-1])
    limits = ["--max-loras", str(MAX_LOADED_ADAPTERS), "--max-cpu-loras", str(MAX_LOADED_ADAPTERS)]
    return ["--enable-lora", *limits, "--max-lora-rank", str(rank), "--lora-target-modules", *served.lora_modules]


def checked_flags(settings: EngineSettings) -> list[str]:
    """Return the user's extra flags.

    Raises:
        BadConfig: a flag is reserved, or abbreviates a reserved one: argparse completes prefixes.
    """
    for flag in settings.flags:
        option = flag.partition("=")[0].lstrip("-").replace("_", "-")
        if flag.startswith("-") and any(
            reserved == option or (option and reserved.startswith(option)) for reserved in RESERVED_FLAGS
        ):
            raise BadConfig(f"engine.flags: '{flag}' is set by the run itself. Remove it; see docs/configuration.md.")
    return list(settings.flags)


def interpreter_path(settings: EngineSettings) -> str:
    """Return the absolute path of vLLM's interpreter; symlinks stay, since they lead out of a virtual environment.

    Raises:
        EngineFailed: the file does not exist.
    """
    path = Path(settings.python).absolute()
    if not path.is_file():
        raise EngineFailed(
            f"There is no {path} to run vLLM. Run `make vllm`, set engine.python to the interpreter of an environment "
            'with vLLM, or use policy.kind = "transformers".'
        )
    return str(path)
