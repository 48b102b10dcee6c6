"""`make up`: a Prefect server if none answers, a worker, and the deployments; Ctrl-C ends all of them.

Not `serve()`, which is shorter: at every start it deletes the schedules made in the UI.
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

from flows.server.environment import HOST, CannotStart, ServerConfig, home_lock, prefect_answers, sweep
from flows.server.history_pages import address, start_pages
from flows.server.orphans import end_orphans
from flows.server.process import ManagedProcess

# The first start reads many modules from a cold disk and creates Prefect's database.
START_SECONDS = 300.0


def up(port: int = 4200, console: Console | None = None) -> None:
    """Start everything, on this machine only, and run until Ctrl-C or SIGTERM.

    Raises:
        CannotStart: the port is taken, this home is up already, or a part did not start or has exited.
    """
    console = console or Console()
    server = ServerConfig.here(port)
    with home_lock(server) as lock, stopped_by_signals() as stop:
        # Prefect reads its settings when it is first imported, so nothing at the top of this module imports it.
        os.environ.update(server.environment())
        end_orphans(server.home)  # before a server is there to which they could report
        try:
            with ExitStack() as stack:
                pages = start_pages(server, lock, stack)
                children = bring_up(server, console, lock, stack, stop)
                console.print(summary_panel(server, len(children) > 1, address(server, pages)))
                watch(children)
        except KeyboardInterrupt:
            console.print("Stopped. `make up` resumes.")


@dataclass
class Stop:
    """Received signals: the first one interrupts, a second one makes the shutdown immediate."""

    signals: int = 0

    def urgent(self) -> bool:
        """Return whether there was a second signal."""
        return self.signals > 1

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self.signals += 1
        if self.signals == 1:
            raise KeyboardInterrupt


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """End the block in the same orderly way at Ctrl-C, SIGTERM and the closing of the terminal."""
    stop = Stop()
    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = {kind: signal.signal(kind, stop.receive) for kind in kinds}
    try:
        yield stop
    finally:
        for kind, handler in former.items():
            signal.signal(kind, handler)


def bring_up(server: ServerConfig, console: Console, lock: int, stack: ExitStack, stop: Stop) -> list[ManagedProcess]:
    """Start what is missing. At the end ``stack`` stops the worker, reschedules its runs and stops the server."""
    children = []
    if not prefect_answers(server):
        children.append(start_server(server, console, lock, stack, stop))

    with console.status("Registering the deployments ..."), explain_request_errors(server):
        prepare(server, console, fresh_server=bool(children))
        sweep(server)
        stack.callback(sweep, server)
        stack.callback(reschedule_after_stop, server, console)
        stack.callback(end_orphans, server.home)
        children.append(start_worker(server, lock, stack, stop))
        register(server, console)
    return children


def register(server: ServerConfig, console: Console) -> None:
    """Register the deployments; the first time also the schedule of housekeeping, switched off."""
    from flows.server import deploy

    with deploy.client_of(server) as client:
        known = deploy.has_deployment(client, deploy.HOUSEKEEPING)
        for warning in deploy.deploy(server):
            console.print(warning, style="yellow", markup=False)
        if not known and deploy.has_deployment(client, deploy.HOUSEKEEPING):
            deploy.offer_schedule(client)


def prepare(server: ServerConfig, console: Console, fresh_server: bool) -> None:
    """Prepare the server before the worker takes its first run: pool, automation, interrupted runs."""
    from cyclealign.config import ExperimentConfig
    from flows.server import deploy, recovery

    with deploy.client_of(server) as client:
        deploy.create_pool(client)
        deploy.watch_heartbeats(client, fresh_server)
        for run in recovery.reschedule_interrupted(client, server.worker, "Its `cyclealign up` ended without notice."):
            console.print(f"The run '{run.name}' was interrupted and resumes now.")
        recovery.skip_overdue(client)
        deploy.delete_removed(client, server.home)
        deploy.keep_settings_of_schedules(client, ExperimentConfig().model_dump())
        for other in deploy.other_workers(client, server):
            console.print(f"[yellow]Another worker, {other}, also takes runs of the pool '{deploy.POOL}'.[/]")


@contextmanager
def explain_request_errors(server: ServerConfig) -> Iterator[None]:
    """Raise CannotStart with a message if the server rejects a request or the connection fails."""
    try:
        yield
    except httpx.HTTPError as error:
        raise CannotStart(
            f"The Prefect server at {server.url} did not accept a request: {error} If it needs credentials, set "
            "PREFECT_API_KEY or PREFECT_API_AUTH_STRING."
        ) from error


def start_server(server: ServerConfig, console: Console, lock: int, stack: ExitStack, stop: Stop) -> ManagedProcess:
    """Start a Prefect server on the loopback address and wait until it answers.

    Raises:
        CannotStart: it exited, or took too long.
    """
    arguments = ["--no-prompt", "server", "start", "--host", HOST, "--port", server.url.rpartition(":")[2]]
    process = ManagedProcess.start("server", arguments, server.environment(), server.log_of("server"), lock)
    stack.callback(process.stop, stop.urgent)
    with console.status("Starting the Prefect server ... (up to a minute the first time)"):
        import flows.server.deploy  # noqa: F401 - it imports Prefect, which takes as long as the server's own start

        wait_until(lambda: process.ended or prefect_answers(server))
    if process.ended:
        raise exit_error(process)
    return process


def start_worker(server: ServerConfig, lock: int, stack: ExitStack, stop: Stop) -> ManagedProcess:
    """Start the worker; it starts each run in its own process."""
    from flows.server.deploy import POOL

    arguments = ["--no-prompt", "worker", "start", "--pool", POOL, "--type", "process", "--name", server.worker]
    worker = ManagedProcess.start("worker", arguments, server.worker_environment(), server.log_of("worker"), lock)
    stack.callback(worker.stop, stop.urgent)
    return worker


def wait_until(ready: Callable[[], bool]) -> None:
    """Poll until ``ready`` returns True.

    Raises:
        CannotStart: START_SECONDS have passed.
    """
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            raise CannotStart(f"The Prefect server has not answered for {START_SECONDS:.0f} seconds.")
        time.sleep(0.3)


def watch(children: list[ManagedProcess]) -> None:
    """Wait for a signal, which raises KeyboardInterrupt.

    Raises:
        CannotStart: one of the children has exited.
    """
    while True:
        for child in children:
            if child.ended:
                raise exit_error(child)
        time.sleep(0.5)


def exit_error(child: ManagedProcess) -> CannotStart:
    """Return the error for a child that exited by itself."""
    code = child.process.returncode
    return CannotStart(
        f"The Prefect {child.name} has ended (status {code}). Its log is {child.log}:\n{child.log_tail()}"
    )


def reschedule_after_stop(server: ServerConfig, console: Console) -> None:
    """Reschedule the worker's runs after it has exited. If this fails, the next start does it."""
    from flows.server import deploy, recovery

    try:
        with deploy.client_of(server) as client:
            recovery.end_processes(recovery.interrupted_runs(client, server.worker))
            runs = recovery.reschedule_interrupted(client, server.worker, "Stopped together with `cyclealign up`.")
    except Exception as error:  # the server may have exited: everything is shutting down
        console.print(f"[yellow]Interrupted runs will be rescheduled at the next start ({type(error).__name__}).[/]")
        return
    for run in runs:
        console.print(f"The run '{run.name}' was interrupted. The next `make up` resumes it.")


def summary_panel(server: ServerConfig, own_server: bool, pages: str) -> Panel:
    """Return the panel that is shown after the start: addresses, folders and first steps.

    Args:
        pages: the address of the pages over the history.
    """
    rows = {
        "Prefect UI": f"{server.url} ({'started now' if own_server else 'already running'})",
        "Worker": server.worker,
        "Home": f"{server.home}: database, models, adapters, logs",
        "Start rounds": f"{server.url}/deployments > demo, or align with the defaults, > Run > Custom run",
        "Your own config": "`cyclealign deploy my.toml` makes a deployment whose form shows it",
        "Schedule them": "on the same page, under Schedules; they are kept when you stop and restart this",
        "Look at rounds": pages,
        "Reports": f"{server.url}/artifacts, or the Artifacts tab of a run",
        "Edit templates": f"{server.folder / 'prompts'}: read when a round opens",
        "Stop": "Ctrl-C ends everything. An interrupted run resumes at the next `make up`.",
    }
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")  # an address that is cut off opens nothing
    for name, text in rows.items():
        table.add_row(f"[bold]{name}[/]", escape(text))
    return Panel(table, title="cyclealign is up", title_align="left", expand=False)
