"""The card of an exported model: a README.md with the header that the Hugging Face hub reads."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclealign import __version__
from cyclealign.config import ExperimentConfig, PolicySettings, stored_settings
from cyclealign.evaluation.metric_table import find_metric
from cyclealign.evaluation.report import interval, three_digits
from cyclealign.export.card import MARK, table
from cyclealign.policy.vllm_command import LORA_RANKS
from cyclealign.records import Adapter, Metric, Round
from cyclealign.store import Store

NO_LICENCE = "other"


@dataclass(frozen=True)
class ModelFacts:
    """The facts of a written folder that its card tells; see `cyclealign.policy.portable.Portable`.

    Attributes:
        hub_id: of the base model; None if it is a folder.
        licence: an identifier of the hub; None: not stated.
    """

    whole: bool
    dtype: str
    difference: float | None
    end_tokens: tuple[str, ...]
    hub_id: str | None
    licence: str | None


def lineage(store: Store, round_: Round) -> list[tuple[dict[str, Any], Round, ExperimentConfig]]:
    """Return the rounds that made the weights of a round, itself the last: summary, plan and settings of each."""
    summaries = [row for row in store.experiments.rounds(round_.experiment) if row["number"] <= round_.number]
    made = {row["adapter_id"]: row for row in summaries if row["adapter_id"]}
    chain: list[dict[str, Any]] = [row for row in summaries if row["number"] == round_.number]
    while (parent := made.get(chain[0]["parent_adapter_id"])) is not None:
        chain.insert(0, parent)
    rounds = [store.rounds.get(round_.experiment, row["number"]) for row in chain]
    return [(row, one, stored_settings(one.plan.settings, "round")) for row, one in zip(chain, rounds, strict=True)]


def model_card(store: Store, round_: Round, adapter: Adapter, facts: ModelFacts) -> str:
    """Return the card: base model, rounds with judge and templates, figures with intervals, limits, licence, use."""
    made = lineage(store, round_)
    summary, _, config = made[-1]
    kind = "all weights of a model" if facts.whole else "a LoRA adapter"
    parts = [
        _header(round_, facts),
        MARK,
        f"# {round_.experiment}, round {round_.number}",
        f"This folder holds {kind}. Base model: {_code(_base_name(round_, facts))}, aligned in {len(made)} "
        f"{'round' if len(made) == 1 else 'rounds'} with the rankings of a language model as the judge. Verdict on "
        f"this round: {str(summary['verdict'] or 'open').replace('_', ' ')}. Hash of the trained weights: "
        f"`{adapter.content_hash}`. Written by cyclealign {__version__}.",
        "## Use",
        _use(facts, config.policy, config.training.lora_rank),
        "## Training",
        _rounds_table(made),
        _precision(facts, config),
        "## Figures",
        _figures(summary["metrics"]),
        "## Limits",
        _limits(config, round_),
        "## Licence",
        _licence(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(round_: Round, facts: ModelFacts) -> str:
    lines = [f"license: {json.dumps(facts.licence or NO_LICENCE)}"]
    if facts.licence is None:
        lines.append('license_name: "not-stated"')
    if facts.hub_id is not None:
        lines += [f"base_model: {json.dumps(facts.hub_id)}"]
        lines += [f"base_model_relation: {'finetune' if facts.whole else 'adapter'}"]
    lines += [f"library_name: {'transformers' if facts.whole else 'peft'}", "pipeline_tag: text-generation"]
    lines += [f"model_name: {json.dumps(f'{round_.experiment}, round {round_.number}')}"]
    lines += ["tags:\n- cyclealign\n- preference-learning" + ("" if facts.whole else "\n- lora")]
    return "---\n" + "\n".join(lines) + "\n---"


def _use(facts: ModelFacts, policy: PolicySettings, lora_rank: int) -> str:
    arguments = "".join(f", {name}={value!r}" for name, value in policy.chat_template_kwargs.items())
    system = f'    {{"role": "system", "content": {policy.system_prompt!r}}},\n' if policy.system_prompt else ""
    load = (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'model = AutoModelForCausalLM.from_pretrained("FOLDER")'
        if facts.whole
        else "from peft import AutoPeftModelForCausalLM\nfrom transformers import AutoTokenizer, GenerationConfig\n\n"
        'model = AutoPeftModelForCausalLM.from_pretrained("FOLDER")\n'
        'model.generation_config = GenerationConfig.from_pretrained("FOLDER")'
    )
    rank = next((rank for rank in LORA_RANKS if rank >= lora_rank), LORA_RANKS[-1])
    serve = (
        "vllm serve FOLDER"
        if facts.whole
        else f"vllm serve BASE --enable-lora --max-lora-rank {rank} --lora-modules aligned=FOLDER \\\n"
        "  --chat-template FOLDER/chat_template.jinja --generation-config FOLDER"
    )
    ends = ", ".join(map(_code, facts.end_tokens))
    return (
        f'```python\n{load}\ntokenizer = AutoTokenizer.from_pretrained("FOLDER")\nmessages = [\n{system}'
        '    {"role": "user", "content": "..."},\n]\n'
        'inputs = tokenizer.apply_chat_template(\n    messages, add_generation_prompt=True, return_tensors="pt", '
        f"return_dict=True{arguments}\n)\n"
        "answer = model.generate(**inputs, max_new_tokens=" + f"{policy.max_new_tokens})\n```\n\n"
        f"```sh\n{serve}\n```\n\n"
        "The chat template is the one of training. `generation_config.json` samples as the rounds did: temperature "
        f"{policy.temperature:g}, top-p {policy.top_p:g}, no top-k; an answer ends with {ends}. Answers of the rounds "
        f"had at most {policy.max_new_tokens} new tokens."
    )


def _rounds_table(made: Sequence[tuple[dict[str, Any], Round, ExperimentConfig]]) -> str:
    head = ["round", "verdict", "prompt set", "prompts", "held out", "judge", "method", "templates (hash)", "objective"]
    rows = [
        [
            str(summary["number"]),
            str(summary["verdict"] or "open").replace("_", " "),
            config.prompts.set_name,
            str(summary["prompts"]),
            str(summary["held_out_prompts"]),
            config.judge.model,
            config.judge.method,
            ", ".join(f"{template.name} {template.hash[:16]}" for template in round_.plan.templates),
            f"{config.training.method}, {config.training.objective}",
        ]
        for summary, round_, config in made
    ]
    return table(head, rows)


def _precision(facts: ModelFacts, config: ExperimentConfig) -> str:
    if not facts.whole:
        return "The adapter is a copy of the trained one." + (
            " It was trained on the base model in 4 bits, and compared with its parent on the unquantised base."
            if config.training.quantise
            else ""
        )
    words = f"The weights are served in {facts.dtype}."
    if facts.difference is not None:
        words += (
            " They are the sum of base model and adapter; their log-probs of the adapter's probe differ from those at "
            f"the end of training by at most {facts.difference:.1e} nats per token."
        )
    return words


def _figures(metrics: dict[str, Metric]) -> str:
    known = [(metric, found) for name, metric in metrics.items() if (found := find_metric(name)) is not None]
    if not known:
        return "Nothing was measured."
    rows = [
        [
            found.label,
            interval(metric, three_digits) + (f" {found.unit}" if found.unit else ""),
            "" if metric.count is None else str(metric.count),
            found.meaning,
        ]
        for metric, found in known
    ]
    return "Values of the last round, with 95 % intervals where there are any.\n\n" + table(
        ["figure", "value", "n", "meaning"], rows
    )


def _limits(config: ExperimentConfig, round_: Round) -> str:
    lines = [
        f"The preferences are those of the judge, {_code(config.judge.model)}, with the templates above; they carry "
        "its biases, and no person has checked every ranking.",
        "A win rate counts comparisons by that judge on held-out prompts of the same set. It says nothing about other "
        "kinds of prompts, about facts, or about safety, which were not measured.",
        "Answers that the base model gives wrongly or harmfully may have stayed.",
    ]
    if config.judge.kind == "simulated":
        lines.insert(0, "The judge was simulated: this model is a demonstration of the loop, for no other use.")
    if round_.plan.base_model.startswith("demo/"):
        lines.insert(0, "The base model is the tiny model of the demo world.")
    return "\n".join(f"- {line}" for line in lines)


def _licence(facts: ModelFacts) -> str:
    if facts.licence is None:
        return (
            "Not stated. The licence of the base model applies; the terms of the judge's provider and the licences of "
            "the prompts may restrict the use too. `--license ID` writes a licence here."
        )
    return (
        f"{facts.licence}, as stated at the export. The licence of the base model applies; the terms of the judge's "
        "provider and the licences of the prompts may restrict the use too."
    )


def _base_name(round_: Round, facts: ModelFacts) -> str:
    """Return the name in the history; of a folder its last part alone, since paths tell of the machine."""
    name = round_.plan.base_model
    return name if facts.hub_id is not None or name.startswith("demo/") else Path(name).name


def _code(text: str) -> str:
    """Return a name as code; line ends and back quotes in it cannot end the code."""
    return "`" + " ".join(text.split()).replace("`", "'") + "`"
