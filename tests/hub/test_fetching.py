"""Models from the hub: revisions, the cache, and what goes wrong, told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from PIL import Image

import ncsr
from ncsr.hub.fetching import calling_the_hub, parse_id
from ncsr.pretrained.load import find_model
from tests.conftest import Command, scene8
from tests.hub.conftest import NAME
from tests.hub.stand_in import EXPIRED, READER, Repo, StandIn


def same(one: ncsr.NCSR, other: ncsr.NCSR) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return one.config == other.config and all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def refused(hub: StandIn) -> object:
    def check(reason: str, name: str = NAME, **how: str) -> None:
        with pytest.raises(ncsr.InputError, match=reason) as raised:
            ncsr.load(name, "cpu", **how)  # type: ignore[arg-type]
        message = str(raised.value)
        assert message.startswith(f"no model '{name}' in a folder or file here, and ")
        assert "\n" not in message
        assert len(message) < 300

    return check


def test_ids() -> None:
    assert parse_id("kim/tiny") == ("kim/tiny", None)
    assert parse_id("an-owner/a.name-x4_b") == ("an-owner/a.name-x4_b", None)
    assert parse_id("kim/tiny@refs/pr/1") == ("kim/tiny", "refs/pr/1")
    assert [parse_id(name) for name in ("tiny", "a/b/c", "kim/tiny@", "@v1", "https://kim/tiny")] == [None] * 5


def test_a_model_comes_once(repo: Repo, hub: StandIn, tiny_model: ncsr.NCSR) -> None:
    assert same(ncsr.load(NAME, "cpu"), tiny_model)
    assert not ncsr.load(NAME, "cpu").training
    before = len(hub.asked)
    assert same(ncsr.NCSR.from_pretrained(NAME, "cpu"), tiny_model)
    assert hub.asked[before:] == [f"GET /api/models/{NAME}/revision/main"]


def test_only_what_a_model_needs_is_fetched(repo: Repo, hub: StandIn, tmp_path: Path) -> None:
    repo.commit(repo.commits[repo.refs["main"]] | {"README.md": b"# Tiny", "optimizer.pt": b"1" * 9999, "run.py": b""})
    find_model(NAME)
    names = {path.name for path in (tmp_path / "cache").glob("models--*/snapshots/*/*")}
    assert names == {"README.md", "config.json", "model.safetensors"}


def test_revisions(repo: Repo) -> None:
    files = repo.commits[repo.refs["main"]]
    cold = files["config.json"].replace(b'"temperature": 0.8', b'"temperature": 0.1')
    commit = repo.commit(files | {"config.json": cold}, "v1")
    repo.refs["refs/pr/1"] = commit
    for name, how in (
        (NAME, {"revision": "v1"}),
        (NAME, {"revision": commit}),
        (f"{NAME}@v1", {}),
        (f"{NAME}@{commit}", {}),
        (f"{NAME}@refs/pr/1", {}),
        (f"{NAME}@v1", {"revision": "v1"}),
    ):
        assert '"temperature": 0.1' in (find_model(name, **how) / "config.json").read_text(), (name, how)
    assert '"temperature": 0.8' in (find_model(NAME) / "config.json").read_text()
    with pytest.raises(ncsr.InputError, match="names one revision, revision='main' another: give one"):
        ncsr.load(f"{NAME}@v1", "cpu", revision="main")


def test_revisions_are_of_the_hub(tiny_model_folder: Path) -> None:
    for name in ("x4-small", tiny_model_folder):
        with pytest.raises(ncsr.InputError, match="is on this machine and has no revisions: leave revision out"):
            ncsr.load(name, "cpu", revision="v1")


def test_a_folder_of_that_name_goes_first(
    hub: StandIn, tiny_model: ncsr.NCSR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_model.save("kim/tiny@v1")
    assert same(ncsr.load("kim/tiny@v1", "cpu"), tiny_model)
    assert hub.asked == []


def test_without_a_network(repo: Repo, hub: StandIn, refused: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came before is enough."""
    folder = find_model(NAME)
    refused("has no revision v9", revision="v9")
    hub.down = True
    assert find_model(NAME) == folder
    refused("the hub answered 503 about kim/tiny@v9: .*Service Unavailable.*; try again later", revision="v9")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    assert find_model(NAME) == folder
    refused(
        r"kim/tiny@v9 is not in the cache, and http://127.0.0.1:1 cannot be reached \(.*refused\): connect",
        revision="v9",
    )
    refused(r"kim/other is not in the cache, and http", name="kim/other")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_model(NAME) == folder
    refused("kim/other is not, or not whole, in the cache, and HF_HUB_OFFLINE is set: fetch it once", name="kim/other")


def test_what_is_not_there(repo: Repo, hub: StandIn, refused: object, monkeypatch: pytest.MonkeyPatch) -> None:
    refused("the hub shows no kim/none to a stranger: .*private, sign in with `hf auth login`", name="kim/none")
    refused(f"{NAME} has no revision v9: give a branch, a tag or a commit of {hub.endpoint}/{NAME}", revision="v9")
    refused(f"{NAME} has no revision {'0' * 40}", revision="0" * 40)
    refused("kim/.tiny is no name that the hub has", name="kim/.tiny")
    files = dict(repo.commits[repo.refs["main"]])
    del files["model.safetensors"]
    repo.commit(files, "empty")
    repo.commit({"pytorch_model.bin": b"1"}, "other")
    refused("is not a model of this package: it has no model.safetensors at empty; name another", revision="empty")
    refused("is not a model of this package: it has no model.safetensors at other", revision="other")
    monkeypatch.setenv("HF_TOKEN", READER)
    refused("the hub has no repository kim/none, or none that you may see: correct the name", name="kim/none")


def test_what_is_not_for_everyone(repo: Repo, hub: StandIn, refused: object, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.private = True
    refused(f"the hub shows no {NAME} to a stranger: .*if it is private, sign in")
    repo.private, repo.gated = False, True
    refused(f"{NAME} is gated: ask for access on {hub.endpoint}/{NAME}, and sign in with `hf auth login` or HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", READER)
    refused(f"{NAME} is gated: ask for access on")
    repo.private, repo.gated = True, False
    find_model(NAME)
    monkeypatch.setenv("HF_TOKEN", EXPIRED)
    refused("the hub wants a valid token for kim/none: sign in", name="kim/none")


def test_a_download_that_breaks_off(repo: Repo, hub: StandIn, refused: object, tiny_model: ncsr.NCSR) -> None:
    """It is no model, and goes on where it stopped."""
    hub.cut = True
    how = r"(peer closed connection|.*Connection broken).*"  # by the version of huggingface_hub
    refused(f"what goes between here and the hub for {NAME} broke off: {how}; try again")
    hub.cut = False
    assert same(ncsr.load(NAME, "cpu"), tiny_model)


def test_commands_take_models_of_the_hub(
    repo: Repo, hub: StandIn, ncsr_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit(repo.commits[repo.refs["main"]] | {"card.json": b'{"licence": "CC0-1.0"}'}, "v1")
    Image.fromarray(scene8(8, 8)).save(tmp_path / "photo.png")
    done = ncsr_("upscale", tmp_path / "photo.png", "-o", tmp_path / "out.png", "-m", f"{NAME}@v1", "-n", 1)
    assert (done.code, Image.open(tmp_path / "out.png").size) == (0, (32, 32))
    origin = ncsr.provenance(tmp_path / "out.png")
    assert origin is not None
    assert origin.model == f"{NAME}@v1"
    assert "\nlicence: CC0-1.0\n" in ncsr_("info", f"{NAME}@v1").out
    assert "licence" not in ncsr_("info", NAME).out
    ncsr_("info", "kim/none").failed("the hub shows no kim/none to a stranger")


def test_want_of_memory_is_not_the_hub_s_fault() -> None:
    with pytest.raises(MemoryError), calling_the_hub(NAME, None):
        raise MemoryError
