"""A port that is taken is said at once."""

from __future__ import annotations

import socket


def test_a_port_that_is_taken_is_one_sentence(ncsr_):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ncsr_("app", "--port", port).failed(f"cannot listen on port {port} of 127.0.0.1: .*; choose another --port")
    ncsr_("app", "--port", 70000).failed("choose another --port")
    ncsr_("app", "--port", 0, "-m", "x5").failed("no model 'x5'")
