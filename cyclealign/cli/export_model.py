"""`cyclealign export model`: the trained weights of an experiment as a folder that other tools load."""

from pathlib import Path
from typing import Annotated

import typer

from cyclealign.cli.completion import experiment_names
from cyclealign.cli.console import print_plain
from cyclealign.export import gguf as gguf_
from cyclealign.export import hub
from cyclealign.export.card import NAME
from cyclealign.export.folder import check_folder
from cyclealign.export.model_card import ModelFacts, model_card
from cyclealign.files import appearing_folder, home


def export_model(
    experiment: Annotated[str, typer.Argument(help="The experiment.", autocompletion=experiment_names)],
    number: Annotated[
        int | None, typer.Option("--round", help="A round, whatever its verdict; default: the last accepted one.")
    ] = None,
    merged: Annotated[
        bool, typer.Option("--merged", help="Write all weights of the model, the adapter added to them.")
    ] = False,
    gguf: Annotated[
        bool, typer.Option("--gguf", help="Also convert to GGUF, by the scripts of llama.cpp (LLAMA_CPP=FOLDER).")
    ] = False,
    repository: Annotated[
        str | None,
        typer.Option("--push", help="Also upload to this repository of the hub; the token is that of HF_TOKEN."),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public.")] = False,
    licence: Annotated[
        str | None, typer.Option("--license", help="An identifier for the model card, such as apache-2.0.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The folder to write; default: exports/EXPERIMENT-model in the home."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in that folder.")] = False,
) -> None:
    """Export trained weights with tokenizer, chat template, generation config and model card."""
    from cyclealign.errors import BadConfig
    from cyclealign.loop.chosen_weights import chosen_weights
    from cyclealign.loop.session import open_session
    from cyclealign.store import Store

    if public and repository is None:
        raise BadConfig("--public makes a new repository of --push public; it has no effect without it.")
    folder = (output or home() / "exports" / f"{experiment}-model").resolve()
    check_folder(folder, overwrite)
    if repository is not None:
        hub.require_token()
    with Store.open() as store:
        chosen = chosen_weights(store, experiment, number)
    with open_session(chosen.config) as session:
        session.verify_weights(chosen.adapter)
        base, hub_id = _base_of(session.model_folder)
        with appearing_folder(folder) as unfinished:
            from cyclealign.policy.portable import write_portable
            from cyclealign.policy.weights import is_full_model

            trained = Path(chosen.adapter.path)
            whole = merged or is_full_model(trained)
            script = gguf_.find_script(whole, folder, base) if gguf else None
            named = base if hub_id or repository is None else Path(base).name
            written = write_portable(chosen.config.policy, session.model_folder, trained, unfinished, named, merged)
            facts = ModelFacts(**vars(written), hub_id=hub_id, licence=licence)
            card = model_card(session.store, chosen.round, chosen.adapter, facts)
            (unfinished / NAME).write_text(card, encoding="utf-8")
            if script is not None:
                gguf_.convert(script, whole, unfinished, base)
    print_plain(f"{folder}: {_described(facts)} of round {chosen.round.number}. README.md is the model card.")
    if repository is not None:
        print_plain(f"Uploaded to {hub.push(folder, repository, public)}.")


def _base_of(model: str) -> tuple[str, str | None]:
    """Return the base model as other tools find it, an absolute folder or a hub id, and the hub id alone."""
    return (str(Path(model).absolute()), None) if Path(model).is_dir() else (model, model)


def _described(facts: ModelFacts) -> str:
    if not facts.whole:
        return "adapter"
    if facts.difference is None:
        return f"all weights, {facts.dtype}"
    return f"all weights, {facts.dtype}, log-probs within {facts.difference:.1e} nats per token of training's"
