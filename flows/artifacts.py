"""The report of a round: a table artifact and a plot for the Prefect UI, and the plot as a file."""

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from cyclealign.evaluation.report import embedded
from cyclealign.evaluation.round_report import round_table
from cyclealign.loop.ports import save_plot
from cyclealign.records import Round
from cyclealign.store import Store


def publish(store: Store, round_: Round) -> None:
    """Publish the table of all rounds and their plot with the run. Fixed keys give a history by version."""
    rounds = store.experiments.rounds(round_.experiment)
    description = f"Experiment {round_.experiment}, round {round_.number}"
    create_table_artifact(key="round-history", table=round_table(rounds), description=description)
    markdown = f"# {description}\n\n{embedded(save_plot(store, round_).read_bytes(), 'rounds')}"
    create_markdown_artifact(key="round-report", markdown=markdown, description=description)
