"""`cyclealign init`: the config and the prompts of a first experiment with one's own model and judge."""

import os
import tomllib
from math import ceil
from pathlib import Path
from typing import Annotated

import typer

from cyclealign import prompt_import
from cyclealign.cli.console import print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.cli.prompts import import_prompts
from cyclealign.config import ExperimentConfig, checked
from cyclealign.config.starter import starter_config
from cyclealign.errors import BadConfig
from cyclealign.files import CHECKOUT
from cyclealign.store import Store
from cyclealign.store.prompts import PromptSetSize

PER_ROUND, HELD_OUT = 200, 60  # as in the example; fewer if the set is smaller
ROUNDS, MIN_PER_ROUND = 3, 32  # a set is divided among so many rounds, unless they would be too small to learn from
HELD_OUT_SHARE, MAX_HELD_OUT_SHARE, MIN_HELD_OUT = 0.1, 0.5, 20
app = new_app()


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Name of the experiment, its prompt set and its config, NAME.toml.")],
    model: Annotated[str, typer.Option(help="Your model: a folder or a Hugging Face id.")],
    judge_model: Annotated[str, typer.Option(help="The judge's model, as its endpoint knows it.")],
    prompts: Annotated[
        str | None, typer.Option(help="A file or data set to import, as for `cyclealign prompts import`.")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Read this column of the file as the prompt: a text or a list of turns.")
    ] = None,
    base_url: Annotated[
        str, typer.Option(help="Address of the judge: any OpenAI-compatible endpoint.")
    ] = "https://api.openai.com/v1",
    key_variable: Annotated[
        str, typer.Option(help="Environment variable with the judge's API key.")
    ] = "OPENAI_API_KEY",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing NAME.toml.")] = False,
) -> None:
    """Write NAME.toml for your model and judge, and import your prompts."""
    path = Path(f"{name}.toml")
    if path.exists() and not force:
        raise BadConfig(f"{path} exists already. Edit it, choose another name, or replace it with --force.")
    values: dict[str, str | int] = {
        "experiment": name,
        "prompts.set_name": name,
        # Absolute, since runs of a deployment start in another folder.
        "policy.model": str(Path(model).resolve()) if Path(model).is_dir() else model,
        "judge.model": judge_model,
        "judge.base_url": base_url,
        "judge.api_key_variable": key_variable,
    }
    config_of(str(path), values)  # a wrong name or address is refused before anything is imported
    if prompts is not None:
        import_prompts(prompts, name, held_out_share(prompts, column), column)
    size = size_of(name)
    if size is not None:
        values |= {"prompts.per_round": per_round(size.train)}
        values |= {"prompts.held_out": min(HELD_OUT, max(1, size.held_out))}
    path.write_text(config_of(str(path), values), encoding="utf-8")
    print_plain(f"Wrote {path}.")
    print_next(path, name, key_variable, size)


def config_of(file: str, values: dict[str, str | int]) -> str:
    """Return the text of the config.

    Raises:
        BadConfig: a value is not valid.
    """
    added = {} if (Path("prompts") / "rank.jinja").is_file() else {"templates": str(CHECKOUT / "prompts")}
    text = starter_config(file, values, added)
    config: ExperimentConfig = checked(tomllib.loads(text), file)
    assert config.judge.kind == "openai"
    return text


def per_round(train: int) -> int:
    """Return the prompts of a round: an experiment draws none twice, so that a set has to last for several rounds."""
    return min(PER_ROUND, max(1, ceil(train / ROUNDS), min(train, MIN_PER_ROUND)))


def held_out_share(source: str, column: str | None) -> float:
    """Return the share of the prompts to hold out: a tenth, more of a small source, so that a win rate means something.

    Raises:
        BadPrompts: the source cannot be read.
    """
    count = max(1, len(prompt_import.read_source(source, HELD_OUT_SHARE, column=column).prompts))
    return min(MAX_HELD_OUT_SHARE, max(HELD_OUT_SHARE, MIN_HELD_OUT / count))


def size_of(set_name: str) -> PromptSetSize | None:
    """Return the size of the prompt set; None if there is none."""
    with Store.open() as store:
        return next((size for size in store.prompts.sets() if size.name == set_name), None)


def print_next(path: Path, name: str, key_variable: str, size: PromptSetSize | None) -> None:
    """Print the commands that lead to the first round."""
    print_plain("Next:")
    if size is None:
        print_plain(f"  cyclealign prompts import FILE --set {name}")
    if not os.environ.get(key_variable):
        print_plain(f"  export {key_variable}=...   (a local server without keys takes any text)")
    print_plain(f"  cyclealign doctor {path} --ask")
    print_plain(f"  cyclealign run {path}")
