"""`make up`: a Prefect server if none answers, a worker, and the deployments; all of it ends with Ctrl-C.

Not `serve()`, which is shorter: it deletes the schedules that people made in the UI at every start.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType

import httpx
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from flows.server.environment import HOST, CannotStart, ServerConfig, only_one, prefect_answers
from flows.server.process import ManagedProcess

# The first start on a cold disk imports a lot, and makes Prefect's database.
START_SECONDS = 300.0


def up(port: int = 4200, console: Console | None = None) -> None:
    """Bring everything up, on this machine only, and stay until Ctrl-C or SIGTERM.

    Raises:
        CannotStart: the port is taken, this home is up already, or a part did not start or has ended.
    """
    console = console or Console()
    place = ServerConfig.here(port)
    with only_one(place) as lock, stopped_by_signals() as stop:
        # Prefect reads its settings when it is first imported, so nothing at the top of this module imports it.
        os.environ.update(place.environment())
        try:
            with ExitStack() as stack:
                children = bring_up(place, console, lock, stack, stop)
                console.print(welcome(place, own_server=len(children) > 1))
                watch(children)
        except KeyboardInterrupt:
            console.print("Stopped. `make up` goes on from here.")


@dataclass
class Stop:
    """What the user wants: the first signal interrupts, a second one makes the end quicker."""

    signals: int = 0

    def impatient(self) -> bool:
        """Whether the user has asked twice."""
        return self.signals > 1

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self.signals += 1
        if self.signals == 1:
            raise KeyboardInterrupt


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Ctrl-C, SIGTERM and the terminal's closing all end the block in the same orderly way."""
    stop = Stop()
    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = {kind: signal.signal(kind, stop.receive) for kind in kinds}
    try:
        yield stop
    finally:
        for kind, handler in former.items():
            signal.signal(kind, handler)


def bring_up(place: ServerConfig, console: Console, lock: int, stack: ExitStack, stop: Stop) -> list[ManagedProcess]:
    """Start what is missing; ``stack`` learns how to end it: worker, then its interrupted runs, then the server."""
    children = []
    if not prefect_answers(place):
        children.append(start_server(place, console, lock, stack, stop))

    from flows.server import deploy

    with console.status("Registering the deployments ..."), explained(place):
        put_in_order(place, console, fresh_server=bool(children))
        stack.callback(put_back_interrupted, place, console)
        children.append(start_worker(place, lock, stack, stop))
        deploy.deploy(place)
    return children


def put_in_order(place: ServerConfig, console: Console, fresh_server: bool) -> None:
    """What must be done before the worker takes its first run."""
    from flows.server import deploy, recovery

    with deploy.client_of(place) as client:
        deploy.create_pool(client)
        deploy.watch_heartbeats(client, fresh_server)
        for run in recovery.reschedule_interrupted(client, place.worker, "Its `cyclealign up` ended without notice."):
            console.print(f"The run '{run.name}' was interrupted; it goes on now.")
        recovery.make_way(client)
        for other in deploy.other_workers(client, place):
            console.print(f"[yellow]Another worker, {other}, takes runs of the pool '{deploy.POOL}' too.[/]")


@contextmanager
def explained(place: ServerConfig) -> Iterator[None]:
    """Turn what a server answers that does not let us in, or that breaks off, into an error with a message."""
    try:
        yield
    except httpx.HTTPError as error:
        raise CannotStart(
            f"The Prefect server at {place.url} did not accept a request: {error} If it wants a login, set "
            "PREFECT_API_KEY or PREFECT_API_AUTH_STRING."
        ) from error


def start_server(place: ServerConfig, console: Console, lock: int, stack: ExitStack, stop: Stop) -> ManagedProcess:
    """Start a Prefect server on the loopback address and wait until it answers.

    Raises:
        CannotStart: it ended, or took too long.
    """
    arguments = ["--no-prompt", "server", "start", "--host", HOST, "--port", place.url.rpartition(":")[2]]
    server = ManagedProcess.start("server", arguments, place.environment(), place.log_of("server"), lock)
    stack.callback(server.stop, stop.impatient)
    with console.status("Starting the Prefect server ... (up to a minute for the first time)"):
        import flows.server.deploy  # noqa: F401 - it imports Prefect, which takes as long as the server's own start

        wait_until(lambda: server.ended or prefect_answers(place))
    if server.ended:
        raise gone(server)
    return server


def start_worker(place: ServerConfig, lock: int, stack: ExitStack, stop: Stop) -> ManagedProcess:
    """Start the worker that takes the runs; each run is then a process of its own."""
    from flows.server.deploy import POOL

    arguments = ["--no-prompt", "worker", "start", "--pool", POOL, "--type", "process", "--name", place.worker]
    worker = ManagedProcess.start("worker", arguments, place.worker_environment(), place.log_of("worker"), lock)
    stack.callback(worker.stop, stop.impatient)
    return worker


def wait_until(come: Callable[[], bool]) -> None:
    """Poll until the server is there.

    Raises:
        CannotStart: START_SECONDS have passed.
    """
    deadline = time.monotonic() + START_SECONDS
    while not come():
        if time.monotonic() > deadline:
            raise CannotStart(f"The Prefect server has not answered for {START_SECONDS:.0f} seconds.")
        time.sleep(0.3)


def watch(children: list[ManagedProcess]) -> None:
    """Wait for a signal.

    Raises:
        CannotStart: one of the children has ended.
    """
    while True:
        for child in children:
            if child.ended:
                raise gone(child)
        time.sleep(0.5)


def gone(child: ManagedProcess) -> CannotStart:
    """The error for a child that ended by itself."""
    code = child.process.returncode
    return CannotStart(
        f"The Prefect {child.name} has ended (status {code}). Its log is {child.log}:\n{child.last_words()}"
    )


def put_back_interrupted(place: ServerConfig, console: Console) -> None:
    """Once the worker has ended: no run may stay Running for ever. What goes wrong here, the next start puts right."""
    from flows.server import deploy, recovery

    try:
        with deploy.client_of(place) as client:
            recovery.end_processes(recovery.left_by(client, place.worker))
            runs = recovery.reschedule_interrupted(client, place.worker, "Stopped together with `cyclealign up`.")
    except Exception as error:  # the server may be gone: everything is ending
        console.print(f"[yellow]Interrupted runs will be looked after at the next start ({type(error).__name__}).[/]")
        return
    for run in runs:
        console.print(f"The run '{run.name}' was interrupted. The next `make up` goes on with it.")


def welcome(place: ServerConfig, own_server: bool) -> Panel:
    """What is there now, and what to do with it."""
    rows = {
        "Prefect UI": f"{place.url} ({'started now' if own_server else 'was there already'})",
        "Worker": place.worker,
        "Home": f"{place.home}: database, models, adapters, logs",
        "Start rounds": f"{place.url}/deployments > align > Run > Custom run: the form holds every setting",
        "Schedule them": "on the same page, under Schedules; kept when you stop this and come back",
        "See rounds": f"{place.url}/artifacts, or the Artifacts tab of a run",
        "Edit templates": f"{place.folder / 'prompts'}: each round reads them when it opens",
        "Stop": "Ctrl-C ends all of it. A run that is cut off goes on at the next `make up`.",
    }
    table = Table.grid(padding=(0, 2))
    for name, text in rows.items():
        table.add_row(f"[bold]{name}[/]", escape(text))
    return Panel(table, title="cyclealign is up", title_align="left", expand=False)
