"""`cyclealign browse`: pages over the history for a web browser."""

from typing import TYPE_CHECKING, Annotated

import typer

from cyclealign.cli.console import console
from cyclealign.cli.lazy import new_app
from cyclealign.errors import BadConfig
from cyclealign.files import home
from cyclealign.store import Store

if TYPE_CHECKING:
    from fastapi import FastAPI

LOOPBACK = "127.0.0.1"
app = new_app()


@app.command()
def browse(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 4201,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any other than the default lets other machines connect.")
    ] = LOOPBACK,
    token: Annotated[
        bool, typer.Option("--token/--no-token", help="Require the access token that the printed address holds.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not print the address, which holds the token.")] = False,
) -> None:
    """Serve read-only pages over the history: rounds, answers in both rankings, the judge's exchanges, spending."""
    from cyclealign.browse import access
    from cyclealign.browse.app import make_app

    if not token and host != LOOPBACK:
        raise BadConfig("--no-token serves the history to everyone who can connect; it needs the default --host.")
    secret = access.token_of(home()) if token else None
    names = access.LOCAL_NAMES if host == LOOPBACK else None
    with Store.open() as store:
        shown = "localhost" if host == LOOPBACK else host
        query = f"/?{access.TOKEN}={secret}" if secret else "/"
        if not quiet:
            console.print(f"Open http://{shown}:{port}{query}", markup=False, highlight=False, soft_wrap=True)
        serve(make_app(store, access.Access(secret, names)), host, port)


def serve(application: "FastAPI", host: str, port: int) -> None:
    """Serve until Ctrl-C.

    Raises:
        BadConfig: the port is taken or the address is not this machine's.
    """
    import socket

    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise BadConfig(f"Cannot listen on {host}, port {port}: {error.strerror}. Choose another --port.") from None
        config = uvicorn.Config(application, log_level="warning", access_log=False)  # addresses hold the token
        uvicorn.Server(config).run(sockets=[listening])
