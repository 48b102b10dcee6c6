"""A property: housekeeping deletes exactly what nothing needs and what is old enough."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclealign.files import HOME_VARIABLE
from cyclealign.housekeeping.clean import clean
from cyclealign.housekeeping.rules import HousekeepingRules
from cyclealign.store import Store
from tests.housekeeping.homes import NOW, distillation, file, folder, round_with_weights

AGES = st.integers(0, 40)
CLOSED = st.sampled_from([("accepted", True), ("rolled_back", False), ("undecided", True), ("undecided", False)])
RULES = st.builds(
    HousekeepingRules,
    dry_run=st.booleans(),
    adapters_days=AGES,
    keep_adapters=st.integers(0, 3),
    checkpoints_days=AGES,
    labels_days=AGES,
    unfinished_days=st.none() | st.integers(1, 40),
    logs_days=AGES,
    keep_logs=st.integers(0, 3),
)


@pytest.fixture(scope="module")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, pytest.MonkeyPatch]]:
    """A home whose database is set up, since that takes longer than an example."""
    path = tmp_path_factory.mktemp("property") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(path))
        Store.open().close()
        yield path, patch


def files_in(home: Path) -> set[Path]:
    """Return the files that are not the database's."""
    return {
        path for path in home.rglob("*") if path.is_file() and not path.name.startswith(("distill-", "cyclealign.db"))
    }


@pytest.mark.slow
@settings(max_examples=25)
@given(
    rules=RULES,
    rounds=st.lists(st.tuples(CLOSED, AGES), max_size=5),
    open_days=st.none() | AGES,
    checkpoints=AGES,
    runs=st.lists(st.tuples(st.booleans(), st.booleans(), AGES), max_size=3),
    labels=st.lists(AGES, max_size=3),
    logs=st.lists(AGES, max_size=5, unique=True),
)
def test_exactly_what_is_old_and_not_needed_goes(empty_home, rules, rounds, open_days, checkpoints, runs, labels, logs):
    """Prevents the loss of weights that a round starts from, of a student, or of files that an open run needs."""
    template, patch = empty_home
    home = template.with_name("example")
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(template, home)
    patch.setenv(HOME_VARIABLE, str(home))
    gone: set[Path] = set()
    with Store.open() as store:
        rejected = []
        for (verdict, kept), days in rounds:
            path = round_with_weights(store, verdict, kept, days)
            rejected += [] if kept else [(path, days)]
        if open_days is not None:
            round_with_weights(store, "open", False, open_days)
        gone |= {
            path
            for path, days in rejected[: max(0, len(rejected) - rules.keep_adapters)]
            if days >= rules.adapters_days
        }
        steps = folder(home / "checkpoints" / "trial", checkpoints)
        if rounds and open_days is None and checkpoints >= rules.checkpoints_days:
            gone.add(steps)

        unfinished = False  # the runs were started just now, so that none is given up
        stages = home / "distill" / "pld" / "stages"
        for number, (finished, has_student, days) in enumerate(runs):
            student = folder(stages / f"student-{number}-steps", days) if has_student else None  # named to be mistaken
            folder(stages / f"arm-{number}", days)
            distillation(store, number, finished, student)
            unfinished |= not finished
        made = [(folder(home / "distill" / "pld" / "labels" / f"hash{n}", days), days) for n, days in enumerate(labels)]
        left = folder(stages / "arm-x-steps", checkpoints)
        if not unfinished:
            gone |= {path for path, days in made if days >= rules.labels_days}
            gone |= {left} if checkpoints >= rules.checkpoints_days else set()

        written = sorted((days, file(home / "logs" / f"{days}.log", days)) for days in logs)
        gone |= {path for days, path in written[rules.keep_logs :] if days >= rules.logs_days}

        before = files_in(home)
        outcome = clean(store, rules, NOW)
    assert {each.path for each in outcome.expired} == gone
    assert outcome.size == 1000 * len(gone)
    left_over = before if rules.dry_run else {path for path in before if not under(path, gone)}
    assert files_in(home) == left_over


def under(path: Path, folders: set[Path]) -> bool:
    """Return whether the path is one of the folders or in one."""
    return path in folders or any(parent in folders for parent in path.parents)
