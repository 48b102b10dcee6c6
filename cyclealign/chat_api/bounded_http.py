"""An HTTP client that stops reading when a response grows beyond a limit, compressed or not."""

import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
from openai import DefaultAioHttpClient

from cyclealign.errors import JudgeCallFailed

# A reply of 50,000 characters with the thoughts of a reasoning model takes less than a tenth of it.
MAX_REPLY_BYTES = 8 * 2**20
# 10,000 replies of a batch.
MAX_FILE_BYTES = 512 * 2**20
PIECE_BYTES = 2**16
GZIP_OR_ZLIB = 47  # zlib's window size for either header


class BoundedClient(DefaultAioHttpClient):
    """The openai library's aiohttp client with a bound on the bytes of each response; aiohttp bounds its headers."""

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send the request.

        Raises:
            JudgeCallFailed: the body is longer than the limit; the rest of it was not read.
            httpx2.DecodingError: the body is compressed in a way that was not asked for, or damaged.
        """
        request.headers["accept-encoding"] = "gzip, deflate"
        response = await super().send(request, stream=True, **options)
        try:
            bound_body(response, MAX_FILE_BYTES if request.url.path.endswith("/content") else MAX_REPLY_BYTES)
            if not stream:
                await response.aread()
        except BaseException:
            await response.aclose()
            raise
        return response


def bound_body(response: httpx2.Response, max_bytes: int) -> None:
    """Let the body of the response be read up to ``max_bytes``, decompressed by us piece by piece."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise httpx2.DecodingError(f"The reply is compressed by '{encoding[:20]}', which was not asked for.")
    response.headers.pop("content-encoding", None)
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _BoundedStream(response.stream, max_bytes, compressed=encoding not in ("identity", ""))


class _BoundedStream(httpx2.AsyncByteStream):
    """A body that ends with an error at ``max_bytes``."""

    def __init__(self, stream: httpx2.AsyncByteStream, max_bytes: int, compressed: bool) -> None:
        self._stream, self._max_bytes = stream, max_bytes
        self._decoder = zlib.decompressobj(GZIP_OR_ZLIB) if compressed else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        async for chunk in self._stream:
            for piece in self._decoded(chunk):
                total += len(piece)
                if total > self._max_bytes:
                    raise JudgeCallFailed(
                        f"The response is longer than {self._max_bytes // 2**20} MiB; the rest of it was not read.",
                        unpriced=True,
                    )
                yield piece
        if self._decoder is not None and not self._decoder.eof:
            raise httpx2.ReadError("The compressed body ends early.")

    def _decoded(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the bytes of a chunk in pieces, so that a small chunk never becomes a large one in memory."""
        if self._decoder is None:
            yield chunk
            return
        while chunk:
            try:
                yield self._decoder.decompress(chunk, PIECE_BYTES)
            except zlib.error:
                raise httpx2.DecodingError("The compressed body is damaged.") from None
            chunk = self._decoder.unconsumed_tail

    async def aclose(self) -> None:
        await self._stream.aclose()
