"""The pages of `cyclealign browse` beside the Prefect UI, for as long as `cyclealign up` runs."""

import socket
from contextlib import ExitStack

from cyclealign.browse.access import TOKEN, token_of
from cyclealign.processes import environment_without_keys
from flows.server.environment import HOST, ServerConfig
from flows.server.process import ManagedProcess


def start_pages(server: ServerConfig, lock: int, stack: ExitStack) -> ManagedProcess | None:
    """Start the pages on the port after that of the Prefect UI; None if that port is taken."""
    port = server.pages_port
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError:
            return None
    environment = environment_without_keys(server.environment())
    arguments = ["browse", "--port", str(port), "--quiet"]  # its output is a log file
    log = server.log_of("browse")
    pages = ManagedProcess.start("browse", arguments, environment, log, lock, "cyclealign.cli.main")
    stack.callback(pages.stop)
    return pages


def address(server: ServerConfig, pages: ManagedProcess | None) -> str:
    """Return the address of the pages with the token that opens them, or the reason why there are none."""
    if pages is None:
        return f"port {server.pages_port} is taken: `cyclealign browse --port N` serves them on another"
    if pages.ended:
        return f"ended by itself: see {pages.log}"
    return f"{server.pages_url}/?{TOKEN}={token_of(server.home)}"
