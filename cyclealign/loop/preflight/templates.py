"""Check the judge's template and written demonstrations."""

from pathlib import Path

from cyclealign.config import ExperimentConfig
from cyclealign.judge.requests import PromptSpec, rank_call
from cyclealign.judge.templates import load_demonstrations, load_template
from cyclealign.loop.plan import DEMONSTRATIONS_FILE
from cyclealign.loop.template_choice import TEMPLATES


def check_templates(config: ExperimentConfig) -> str:
    """Load every template and the written demonstrations, and render an example.

    Raises:
        BadTemplate: one cannot be used.
    """
    folder = Path(config.templates)
    written = load_demonstrations(folder / DEMONSTRATIONS_FILE)
    for name in TEMPLATES:
        spec = PromptSpec(load_template(folder, name), config.judge.model, (), config.seed, config.judge.reasons)
        rank_call(spec, "rank", "example", "A question?", {"1": "One answer.", "2": "Another."}, written[:1], 0)
    return f"{folder}: {', '.join(TEMPLATES)}, {len(written)} written demonstrations"
