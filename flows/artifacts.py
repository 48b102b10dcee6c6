"""The report of a round: a table artifact and a plot for the Prefect UI, and the plot as a file."""

import base64
from pathlib import Path

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from cyclealign.evaluation.round_report import plot_rounds, round_table
from cyclealign.files import home
from cyclealign.records import Round
from cyclealign.store import Store


def publish(store: Store, round_: Round) -> None:
    """Leave the table of all rounds, and their plot, with the run. Fixed keys give a history by version."""
    rounds = store.experiments.rounds(round_.experiment)
    description = f"Experiment {round_.experiment}, round {round_.number}"
    create_table_artifact(key="round-history", table=round_table(rounds), description=description)
    svg = plot_rounds(rounds, f"Experiment {round_.experiment}")
    save_plot(round_.experiment, svg)
    picture = base64.b64encode(svg).decode()
    markdown = f"# {description}\n\n![rounds](data:image/svg+xml;base64,{picture})\n"
    create_markdown_artifact(key="round-report", markdown=markdown, description=description)


def save_plot(experiment: str, svg: bytes) -> Path:
    """Write the plot under the project's home folder."""
    path = home() / "reports" / f"{experiment}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(svg)
    return path
