"""The stand-in for the hub, and huggingface_hub turned to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

from tests.hub.stand_in import Repo, StandIn

NAME = "kim/tiny"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A hub without repositories; the cache is empty, nobody is signed in."""
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    for name, value in {  # what HF_ENDPOINT, HF_HOME, ... set when it is imported
        "ENDPOINT": server.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_TOKEN_PATH": str(tmp_path / "token"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
    }.items():
        for module in (constants, file_download):  # which has copies in versions before 1.0
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)  # between the tries of huggingface_hub
    yield server
    server.shutdown()
    assert server.faults == []
    server.server_close()


@pytest.fixture
def repo(hub: StandIn, tiny_model_folder: Path) -> Repo:
    """The tiny model on the hub, as `NAME`."""
    hub.repos[NAME] = repo = Repo()
    repo.commit({path.name: path.read_bytes() for path in tiny_model_folder.iterdir()})
    return repo
