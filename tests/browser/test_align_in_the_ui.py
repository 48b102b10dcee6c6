"""The real `align` in the Prefect UI: started from its form and by a schedule, and interrupted by Ctrl-C."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cyclealign.judge.human_review import letters_of
from tests.browser.pages import box, fill_form_with, open_artifact, open_form, submit
from tests.support import aligning
from tests.support.launched import PATIENCE_SECONDS, Launched, launched, until
from tests.support.local_judge import Answers, LocalJudge, most_words_first, unsure

pytestmark = pytest.mark.launch

KEY = "a-very-secret-key"


class PatientJudge(LocalJudge):
    """A judge that stops answering after a given number of replies, until it is released."""

    def __init__(self) -> None:
        self.replies_left = 10**6
        self.silent, self.released = threading.Event(), threading.Event()
        super().__init__(self.rank)

    def rank(self, answers: Answers) -> str:
        self.replies_left -= 1
        if self.replies_left < 0:
            self.silent.set()
            self.released.wait(PATIENCE_SECONDS)
        return most_words_first(answers)


@pytest.fixture(scope="module")
def judge() -> Iterator[PatientJudge]:
    with PatientJudge() as judge:
        yield judge


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, judge: PatientJudge) -> Iterator[Launched]:
    """Yield `cyclealign up` in a folder with a model, prompts and templates; its form is set to the local judge."""
    environment = {"TEST_JUDGE_KEY": KEY, "OMP_NUM_THREADS": "1"}
    with launched(tmp_path_factory.mktemp("align"), environment) as one:
        aligning.prepare(one)
        one.begin()
        fill_form_with(one, "align/align", aligning.config(judge))
        yield one


@dataclass(frozen=True)
class CutOff:
    """The run of the first round of `nightly`, interrupted by Ctrl-C and finished after the next start."""

    run_id: str
    run_count: int
    paid_before: frozenset[str]
    asked_after: frozenset[str]


@pytest.fixture(scope="module")
def cut_off(site: Launched, judge: PatientJudge) -> CutOff:
    config = aligning.config(judge, experiment="nightly")
    config["judge"]["concurrency"] = 1  # so that two replies are stored when the third request arrives
    judge.answered.clear()
    judge.replies_left = 2
    run_id = site.begin().start_run("align/align", config=config)
    until("the silence of the judge", judge.silent.is_set)
    paid = frozenset(judge.answered)
    assert site.end() == 0
    judge.asked.clear()
    judge.replies_left = 10**6
    judge.released.set()
    site.begin()
    finished = site.wait_for_state(run_id, "Completed")
    return CutOff(run_id, finished["run_count"], paid, frozenset(judge.asked))


def test_a_round_from_the_form_to_its_table_and_plot(site: Launched, page: Any, tmp_path: Path) -> None:
    """Prevents a form that shows raw JSON or loses its defaults, and reports that the page shows as text."""
    open_form(page, site, "align/align")
    experiment = box(page, "Experiment").locator("textarea")
    experiment.wait_for()
    assert experiment.input_value() == "ui"
    assert box(page, "Prompts per round").locator("input").input_value() == "3"
    assert "never trained on" in box(page, "Held-out prompts").inner_text()
    assert 'Property is type "None"' not in page.locator("body").inner_text()
    box(page, "Until round").locator("input").fill("7")
    box(page, "Until round").locator("input").fill("")
    box(page, "Objective").locator(".p-select-button__icon").click()
    page.get_by_role("option").get_by_text("pro", exact=True).click()
    experiment.fill("from-the-form")
    page.screenshot(path=tmp_path / "form.png")
    assert experiment.input_value() == "from-the-form"
    submit(page)
    run = until("a run started from the form", lambda: next(iter(site.runs()), None))
    assert named(run) == "from-the-form"
    run_id = run["id"]
    assert run["parameters"]["config"]["training"]["objective"] == "pro"
    assert site.wait_for_state(run_id, "Completed")["name"] == "align-from-the-form"
    look_at_artifacts(page, f"{site.url}/runs/flow-run/{run_id}", tmp_path)


def named(run: dict[str, Any]) -> str | None:
    name: str | None = run["parameters"].get("config", {}).get("experiment")
    return name


def look_at_artifacts(page: Any, run: str, folder: Path) -> None:
    """Check, from the run's page, that the table has the round's row and that the browser could draw the plots."""
    open_artifact(page, run, "from-the-form-history")
    row = page.locator("tbody tr").first
    row.wait_for()
    assert row.inner_text().split()[0] == "1"
    page.screenshot(path=folder / "table.png")
    open_artifact(page, run, "from-the-form-report")
    page.get_by_role("heading", name="Experiment from-the-form, round 1: accepted").wait_for()
    page.get_by_role("heading", name="Prompt 1").first.wait_for()
    for name in ("rounds", "training"):
        picture = page.get_by_role("img", name=name)
        picture.wait_for()
        until(f"the plot '{name}'", partial(picture.evaluate, "image => image.complete && image.naturalWidth > 100"))
    page.screenshot(path=folder / "plot.png")


def test_a_paused_round_takes_an_order_from_its_form(site: Launched, page: Any, tmp_path: Path) -> None:
    """Prevents a form that opens without the lists or their fields, and rankings that do not reach the round."""
    with LocalJudge(unsure) as judge:
        config = aligning.config(judge, experiment="reviewed", review={"lists": 1, "wait_minutes": 30})
        config["acceptance"] = {"min_win_rate": 0.0}
        run_id = site.begin().start_run("align/align", config=config)
        site.wait_for_state(run_id, "Paused")
        (asked,) = aligning.reviews(site, "reviewed")
        page.goto(f"{site.url}/runs/flow-run/{run_id}")
        page.get_by_role("button", name="Resume").first.click()
        page.get_by_role("heading", name="List 1").wait_for()
        page.screenshot(path=tmp_path / "review.png")
        letters = "".join(reversed(letters_of(asked)))
        page.locator("textarea").fill(letters)
        page.get_by_role("button", name="Submit").click()
        site.wait_for_state(run_id, "Completed")
    (ranked,) = aligning.reviews(site, "reviewed")
    assert ranked.verdict == tuple(reversed(letters_of(asked).values()))
    assert ranked.learnt


def test_a_round_interrupted_by_ctrl_c_is_finished_after_the_next_start(site: Launched, cut_off: CutOff) -> None:
    """Prevents a lost or doubled round, and judge calls that are paid for twice, after Ctrl-C."""
    states = site.states_of(cut_off.run_id)
    assert states[states.index("Crashed") + 1] == "AwaitingRetry"
    assert cut_off.run_count == 2
    assert len(aligning.drawn(site, "nightly")) == 1
    assert len(cut_off.paid_before) == 2
    assert not cut_off.paid_before & cut_off.asked_after


def test_the_log_of_a_run_has_its_steps_and_no_file_has_the_key(site: Launched, cut_off: CutOff) -> None:
    """Prevents runs with an empty log, and keys in Prefect's database, parameters or logs."""

    def logged() -> bool:
        logs = site.ask("POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [cut_off.run_id]}}, "limit": 200})
        return any("Round 1 of 'nightly': train" in log["message"] for log in logs)

    until("the step in the run's log", logged)
    # Prefect keeps a run's environment in a file until the run's process has ended.
    until("the end of the run's process", lambda: not any((site.home / "tmp").rglob("workspace.json")))
    files = [path for path in site.home.rglob("*") if path.is_file()]
    assert [str(path) for path in files if KEY.encode() in path.read_bytes()] == []


def test_a_schedule_continues_the_experiment_with_new_prompts(
    site: Launched, judge: PatientJudge, cut_off: CutOff
) -> None:
    """Prevents schedules that look active and never fire, and rounds that train on the same prompts every time."""
    schedule_id = site.schedule("align/align", config=aligning.config(judge, experiment="nightly"))
    stop = f"/deployments/{site.deployment('align/align')['id']}/schedules/{schedule_id}"

    def scheduled_run() -> dict[str, Any] | None:
        # A run that comes due while another has the experiment is cancelled: on a slow machine, the first.
        at_work = ("Running", "Completed")
        return next((run for run in site.runs() if run["auto_scheduled"] and run["state"]["name"] in at_work), None)

    run_id = until("a scheduled run", scheduled_run)["id"]
    site.ask("DELETE", stop)
    site.wait_for_state(run_id, "Completed")
    first, second = aligning.drawn(site, "nightly")[:2]
    assert len(first) == len(second) == 3
    assert not first & second
