"""A server that sends scripted bytes, valid HTTP or not."""

import asyncio
import threading
from typing import Self


class RawServer:
    """Use as a context manager.

    Args:
        raw: bytes to send after each request.
        endless: bytes to send again and again after them, until the client closes the connection.

    Attributes:
        sent: number of endless bytes that were handed to the connection.
    """

    def __init__(self, raw: bytes, endless: bytes = b"") -> None:
        self.raw, self.endless, self.sent = raw, endless, 0
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._started.set()
        await self._stop.wait()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
            writer.write(self.raw)
            await writer.drain()
            while self.endless:
                writer.write(self.endless)
                await writer.drain()
                self.sent += len(self.endless)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
