"""Many disturbed runs, each compared with an undisturbed one. ``python -m tests.recovery`` runs a campaign."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from cyclealign.loop.check_database import check_database
from cyclealign.store import Store
from cyclealign.store.database import parse_url
from flows.server import own_deployments
from tests.conftest import PostgresServer, postgres_url
from tests.recovery.experiment import Rows, everything, import_prompts, prepare
from tests.recovery.fork_server import ForkServer
from tests.recovery.points import SHORT_LEASE_SECONDS, STEPS, Action, Point, release, wait_for_mark
from tests.support.cut_proxy import CutProxy
from tests.support.launched import Launched, alive, launched, until
from tests.support.local_judge import LocalJudge

ROUNDS = 3
KILLS_A_TRIAL = 11  # so that three trials come to every step of three rounds
MAX_RUNS = 40
ENDED = ("COMPLETED", "FAILED", "CANCELLED")
# The children of `cyclealign up` that each case kills, by a word of their command lines.
KILLED_WITH = {"server": ("server",), "worker": ("worker",), "server and worker": ("server", "worker")}


@dataclass
class Trial:
    """The end of one disturbed experiment.

    Attributes:
        disturbances: the points that were reached.
        asked_again: requests that the judge answered more than once.
        differing: tables with other rows than the undisturbed run; ``damage``: findings of ``cyclealign db check``.
    """

    case: str
    disturbances: int = 0
    asked_again: int = 0
    differing: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    error: str = ""
    points: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Return whether nothing was lost, doubled or damaged."""
        return not (self.differing or self.damage or self.error)


class Skipped(Exception):
    """A case cannot be tried here, with the reason."""


class Place:
    """The home, judge and database of one trial, and its runs."""

    def __init__(self, campaign: "Campaign", name: str, judge: LocalJudge, url: str | None = None) -> None:
        self.home = campaign.folder / name
        self.judge, self.server = judge, campaign.server
        self.url = url or f"sqlite:///{self.home / 'home' / 'cyclealign.db'}"
        self._model = campaign.model
        self._variables = {"CYCLEALIGN_DATABASE_URL": url} if url else {}
        self.environment: dict[str, str] = {}

    def prepare(self, process: str = "same", patience: float = 600.0) -> None:
        """Write the config and import the prompts."""
        made = prepare(self.home, self._model, self.judge.url, ROUNDS, process, patience)
        self.environment = {**made, **self._variables}
        import_prompts(self.home, self.environment)

    def start(self, *points: Point, **variables: str) -> int:
        """Start a run that is disturbed at these points."""
        return self.server.start(self.home, {**self.environment, **variables}, points)

    def finish(self, trial: Trial) -> None:
        """Run until the experiment has its rounds."""
        for _ in range(MAX_RUNS):
            if self.server.wait(self.start()) == 0:
                return
        trial.error = (self.home / "runs.log").read_text(errors="replace")[-600:]


class Campaign:
    """Trials on one fork server.

    Args:
        folder: of the homes.
        model: folder of the tiny model.
    """

    def __init__(self, folder: Path, model: Path, server: ForkServer, seed: int) -> None:
        self.folder, self.model, self.server = folder, model, server
        self.random = random.Random(seed)
        self._number = 0
        with self._place("undisturbed") as place:
            place.prepare()
            trial = Trial("undisturbed")
            place.finish(trial)
            assert not trial.error, trial.error
            self.requests = sum(place.judge.answered.values())
            self.reference: Rows = everything(place.url)
            assert all(self.reference.values())

    def points(self, count: int, action: Action, steps: Sequence[str] = STEPS) -> list[Point]:
        """Draw points of a run, at most one for each step of a round, in the order in which a run comes to them."""
        places = [(number, step) for number in range(1, ROUNDS + 1) for step in steps]
        chosen = set(self.random.sample(places, min(count, len(places))))
        return [self._point(number, step, action) for number, step in places if (number, step) in chosen]

    def _point(self, number: int, step: str, action: Action) -> Point:
        return Point(number, step, self.random.randrange(4), self.random.random() < 0.5, action)

    @contextmanager
    def _place(self, case: str, url: str | None = None) -> Iterator[Place]:
        self._number += 1
        name = f"{self._number:03d}-{case.replace(' ', '-')}"
        with LocalJudge() as judge:
            place = Place(self, name, judge, url)
            yield place
        shutil.rmtree(place.home, ignore_errors=True)

    @contextmanager
    def trial(self, case: str, url: str | None = None) -> Iterator[tuple[Place, Trial]]:
        """Yield a place for the disturbed runs of a case."""
        with self._place(case, url) as place:
            yield place, Trial(case)

    def compare(self, place: Place, trial: Trial) -> Trial:
        """Compare the end of a trial with the undisturbed run."""
        if not trial.error:
            rows = everything(place.url)
            trial.differing = [name for name in rows if rows[name] != self.reference[name]]
            trial.damage = damage(place)
        trial.asked_again = sum(place.judge.answered.values()) - len(place.judge.answered)
        return trial

    def signalled(self, action: Action, count: int) -> Trial:
        """Kill or end a run at each of several points, and start it again each time."""
        with self.trial({"kill": "SIGKILL", "term": "SIGTERM"}[action]) as (place, trial):
            place.prepare()
            for point in self.points(count, action):
                place.server.wait(place.start(point))
                if point.mark(place.home).exists():
                    note(trial, point)
            place.finish(trial)
            return self.compare(place, trial)

    def stopped(self) -> Trial:
        """Stop a run for longer than its lease; a second one takes over and finishes; the first goes on."""
        with self.trial("SIGSTOP past the lease") as (place, trial):
            place.prepare()
            (point,) = self.points(1, "stop")
            first = place.start(point)
            if wait_for_mark(point, place.home, lambda: alive(first)):
                note(trial, point)
                time.sleep(SHORT_LEASE_SECONDS + 1.0)
                second = place.start(RECOVERY_SHORT_LEASE="1")
                if place.server.wait(second) != 0:
                    trial.error = "the second run failed: " + (place.home / "runs.log").read_text()[-500:]
                os.kill(first, signal.SIGCONT)
            place.server.wait(first)
            return self.compare(place, trial)

    def training_child(self) -> Trial:
        """Kill the process of a training, not the run."""
        with self.trial("training child") as (place, trial):
            place.prepare(process="own")
            number = self.random.randrange(1, ROUNDS + 1)
            point = Point(number, "train", action="mark")
            run = place.start(point)
            if wait_for_mark(point, place.home, lambda: alive(run)):
                release(point, place.home)
                training_process(run)
                time.sleep(self.random.uniform(0.0, 4.0))
                if (child := training_process(run)) is not None:
                    child.kill()
                    note(trial, point)
            place.server.wait(run)
            place.finish(trial)
            return self.compare(place, trial)

    def full_disk(self) -> Trial:
        """Fill the disk of the home at a point, and free it once the run has ended."""
        with self.trial("disk full") as (place, trial), small_disk(place.home):
            place.prepare(patience=0.0)
            (point,) = self.points(1, "mark", ("generate", "judge", "agree", "train", "evaluate"))
            run = place.start(point)
            if wait_for_mark(point, place.home, lambda: alive(run)):
                note(trial, point)
                fill(place.home / "filler")
                release_beside(point, place.home)
            place.server.wait(run)
            (place.home / "filler").unlink(missing_ok=True)
            place.finish(trial)
            return self.compare(place, trial)

    def launched(self, case: str, count: int) -> Trial:
        """Kill processes of `cyclealign up` after several of the judge's replies, and start it again each time."""
        with self.trial(case) as (place, trial):
            place.prepare()
            after = sorted(self.random.sample(range(1, self.requests), count))
            with launched_place(place) as site:
                site.begin()
                run_id = site.start_run("align/recovery")
                for replies in after:
                    if not wait_for_replies(place.judge, site, run_id, replies):
                        break
                    trial.disturbances += 1
                    trial.points.append(f"after {replies} replies")
                    kill_children(site, KILLED_WITH[case])
                    until("the end of up", site.ended)
                    site.begin()
                trial.error = failure_of(site, run_id)
            return self.compare(place, trial)

    def connection(self, kind: str, count: int) -> Trial:
        """Cut or stall the connections to PostgreSQL at several points; one run survives all of them."""
        with ExitStack() as stack:
            server = stack.enter_context(postgres_server())
            schema = server.make()
            stack.callback(server.drop, schema)
            proxy = stack.enter_context(CutProxy(parse_url(schema)))
            url = proxy.url.render_as_string(hide_password=False)
            place, trial = stack.enter_context(self.trial(f"connection {kind}", url))
            place.prepare()
            points = self.points(count, "mark")
            run = place.start(*points)
            for point in points:
                if wait_for_mark(point, place.home, lambda: alive(run)):
                    note(trial, point)
                    proxy.cut_for(self.random.uniform(0.2, 2.0)) if kind == "cut" else proxy.stall()
                    release(point, place.home)
            if place.server.wait(run) != 0:
                trial.error = "the run did not survive: " + (place.home / "runs.log").read_text()[-500:]
            return self.compare(place, trial)


@contextmanager
def launched_place(place: Place) -> Iterator[Launched]:
    """Yield a `cyclealign up` of the place's home, not yet started, with a deployment of its config."""
    own_deployments.keep(place.home / "home", place.home / "run.toml", None)
    with launched(place.home, place.environment) as site:
        yield site


def wait_for_replies(judge: LocalJudge, site: Launched, run_id: str, count: int) -> bool:
    """Wait until the judge has given so many replies; return whether it has before the run ended."""
    while sum(judge.answered.values()) < count:
        if site.run(run_id)["state"]["type"] in ENDED:
            return False
        time.sleep(0.1)
    return True


def kill_children(site: Launched, names: Sequence[str]) -> None:
    """Kill the server, the worker, or both."""
    for child in site.family():
        with suppress(psutil.NoSuchProcess):
            if set(names) & set(child.cmdline()):
                child.kill()


def failure_of(site: Launched, run_id: str) -> str:
    """Wait for the end of a run; return what its state says if that is not the end of its rounds."""
    state = until("the end of the run", lambda: ended_state(site, run_id))
    return "" if state["type"] == "COMPLETED" else f"{state['name']}: {state['message']}"


def ended_state(site: Launched, run_id: str) -> dict[str, Any] | None:
    """Return the state of a run that has ended, or None."""
    state: dict[str, Any] = site.run(run_id)["state"]
    return state if state["type"] in ENDED else None


def note(trial: Trial, point: Point) -> None:
    """Count a disturbance."""
    trial.disturbances += 1
    trial.points.append(f"round {point.round} {point.step}")


def damage(place: Place) -> list[str]:
    """Return the findings of ``cyclealign db check``."""
    with Store.open(place.url) as store:
        return [problem for check in check_database(store) for problem in check.problems]


def training_process(run: int) -> psutil.Process | None:
    """Return the training process of a run, once it has started; None if the run ended before."""
    while alive(run):
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(run).children(recursive=True)
            found = [child for child in children if "cyclealign.training.worker" in child.cmdline()]
            if found:
                return found[-1]
        time.sleep(0.02)
    return None


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a disk of 24 MB in memory at the folder.

    Raises:
        Skipped: only the administrator may.
    """
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Skipped(f"no small disk can be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        command = ["umount", "--lazy", str(folder)]
        subprocess.run(command, check=True)


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def release_beside(point: Point, home: Path) -> None:
    """Let the run go on, where no file can be made: by one that was there."""
    point.mark(home).rename(point.mark(home).with_suffix(".go"))


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Yield the server of the tests.

    Raises:
        Skipped: none answers.
    """
    try:
        server = PostgresServer(postgres_url())
    except (sa.exc.OperationalError, ModuleNotFoundError) as error:
        raise Skipped(f"no PostgreSQL: {str(error).splitlines()[0]}") from None
    try:
        yield server
    finally:
        server.close()
