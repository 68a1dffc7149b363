"""A registry that takes every upload and keeps nothing: a destination that neither disk nor memory limits.

It prints its address, and at SIGTERM how many uploads it had open at once and how many bytes it got.
"""

from __future__ import annotations

import asyncio
import json
import signal

from aiohttp import web


class Sink:
    """Handlers for what a mirror asks of an empty registry."""

    def __init__(self) -> None:
        self.bytes = self.uploads = self.open = self.most = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request: there is nothing, and everything may be put."""
        path = request.path
        if path == "/v2/":
            return web.json_response({})
        if request.method == "POST":
            self.uploads += 1
            return web.Response(status=202, headers={"Location": f"{path}{self.uploads}", "Range": "0-0"})
        if request.method == "PUT":
            await self._swallow(request)
            return web.Response(status=201, headers={"Location": path})
        return web.json_response({"errors": [{"code": "NAME_UNKNOWN", "message": "empty"}]}, status=404)

    async def _swallow(self, request: web.Request) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            async for chunk in request.content.iter_any():
                self.bytes += len(chunk)
        finally:
            self.open -= 1


async def serve() -> None:
    """Serve on loopback until SIGTERM."""
    sink, stop = Sink(), asyncio.Event()
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{path:.*}", sink.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    host, port = runner.addresses[0][:2]
    print(f"{host}:{port}", flush=True)
    await stop.wait()
    print(json.dumps({"uploads_at_once": sink.most, "bytes": sink.bytes}), flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
