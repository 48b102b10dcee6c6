"""The judge, as it is asked now, against what people said of lists on which it was unsteady."""

from cyclealign import evaluation
from cyclealign.demonstrations import of_other_questions
from cyclealign.records import LabelledList, Metric, Round
from flows.weighing import accuracy_on
from flows.workshop import Job, Workshop

NAME = "judge_accuracy_reviewed"


def accuracy_on_reviewed(shop: Workshop, round_: Round) -> list[Metric]:
    """Its accuracy, with an interval over lists; none where people have ranked nothing, or no reply can be read."""
    jobs = jobs_on_reviewed(shop, round_)
    found = shop.ask(round_, NAME.replace("_", " "), jobs) if jobs else []
    shares = [each for each in found if each is not None]
    return [evaluation.with_interval(NAME, shares)] if shares else []


def jobs_on_reviewed(shop: Workshop, round_: Round) -> list[Job[float | None]]:
    """What is asked for it: with the demonstrations that the round shows."""
    return [accuracy_on(shop, round_, each, round_.plan.demonstrations) for each in reviewed_lists(shop, round_)]


def reviewed_lists(shop: Workshop, round_: Round) -> list[LabelledList]:
    """Lists that people ranked, but for those whose question is a demonstration's: that one was exported."""
    pool = round_.plan.demonstrations
    lists = shop.store.reviews.labelled_lists(shop.config.prompts.set_name)
    unseen = [each for each in lists if len(of_other_questions(pool, each.prompt.text)) == len(pool)]
    return unseen[: shop.config.evaluation.labelled_lists]
