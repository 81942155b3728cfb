"""The middleware before every route of the page: which requests are let through, and security headers of answers."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

_ALLOWED = ("/static/", "/visits", "/gradio_api/queue/", "/gradio_api/cancel", "/gradio_api/startup-events")
_POLICY = "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Guard:
    """ASGI middleware: answers only requests for the paths that the page needs, and only those made by the page itself.

    Answers forbid caching, and loading anything from other servers.

    Args:
        app: the application behind it.
        host: the address that the server listens on; for 127.0.0.1 the Host header must be a local name.
    """

    def __init__(self, app: Any, host: str) -> None:
        self._app, self._host = app, host

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one request, as ASGI defines it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"]
        ours = path == "/" or path.startswith(_ALLOWED)
        foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if self._host == "127.0.0.1":  # against DNS rebinding: another site's name may point to this machine
            foreign |= headers.get("host", "").partition(":")[0] not in ("127.0.0.1", "localhost")
        if not ours or foreign:
            await Response(status_code=403 if foreign else 404)(scope, receive, send)
            return

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [
                    (b"content-security-policy", _POLICY.encode()),
                    (b"cache-control", b"no-store"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        await self._app(scope, receive, answer)
