"""What stands before every route of the page: who may ask for what, and what no answer may do."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

_OPEN = ("/static/", "/visits", "/gradio_api/queue/", "/gradio_api/cancel", "/gradio_api/startup-events")
_POLICY = "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Guard:
    """Lets through what the page needs, from the page itself; nothing is cached, nothing comes from elsewhere."""

    def __init__(self, app: Any, host: str) -> None:
        self._app, self._host = app, host

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request, as of ASGI."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"]
        ours = path == "/" or path.startswith(_OPEN)
        foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if self._host == "127.0.0.1":  # a name of another site that was made to point here
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
