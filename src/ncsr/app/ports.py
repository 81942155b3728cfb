"""The port that the page is served on."""

from __future__ import annotations

import socket

from ncsr.errors import InputError


def free_port(host: str, port: int) -> int:
    """The port asked for, or a free one for 0.

    Raises:
        InputError: it cannot be had.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"cannot listen on port {port} of {host}: {reason}; choose another --port") from None
        found: int = probe.getsockname()[1]
    return found
