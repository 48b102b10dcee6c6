"""A TCP proxy in front of a database server that cuts, refuses or stalls connections."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

from sqlalchemy import URL

CHUNK = 1 << 16
At = Literal["cut before", "cut after", "stall"]


class CutProxy:
    """Forwards connections to the server of ``url`` until it is told otherwise; ``self.url`` leads through it.

    Use in a ``with`` block.
    """

    def __init__(self, url: URL) -> None:
        self._target = (url.host or "127.0.0.1", url.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket, threading.Event]] = []
        self._refusing = False
        self._trigger: tuple[bytes, At] | None = None
        self.cuts = 0
        self.url = url.set(host="127.0.0.1", port=self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._listener.close()

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        with self._lock:
            self._refusing = True
            pairs, self._pairs = self._pairs, []
            self.cuts += 1
        for client, server, flowing in pairs:
            flowing.set()
            _close(client, server)

    def restore(self) -> None:
        """Let new connections pass."""
        self._refusing = False

    def cut_for(self, seconds: float) -> None:
        """Cut now, and restore after so many seconds."""
        self.cut()
        threading.Timer(seconds, self.restore).start()

    def stall(self) -> None:
        """Forward nothing more over the connections that exist, which stay open; new ones pass."""
        with self._lock:
            for _, _, flowing in self._pairs:
                flowing.clear()

    def at(self, words: bytes, action: At) -> None:
        """Cut or stall the connection that next sends these words, once; before or after the server received them."""
        self._trigger = (words, action)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                _close(client)
                continue
            server = socket.create_connection(self._target)
            flowing = threading.Event()
            flowing.set()
            with self._lock:
                self._pairs.append((client, server, flowing))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink, flowing, source is client), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, flowing: threading.Event, asking: bool) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                flowing.wait()
                action = self._action(data) if asking else None
                if action == "stall":
                    flowing.clear()
                    flowing.wait()
                if action == "cut after":
                    _close(source)  # before the server can answer
                    sink.sendall(data)
                    sink.recv(1)  # the server has carried it out
                if action is not None:
                    break
                sink.sendall(data)
        _close(source, sink)

    def _action(self, data: bytes) -> At | None:
        if self._trigger is None or self._trigger[0] not in data:
            return None
        action = self._trigger[1]
        self._trigger = None
        self.cuts += 1
        return action


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
