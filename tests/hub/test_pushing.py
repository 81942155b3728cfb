"""Models to the hub, and their cards."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import ncsr
from ncsr.errors import InputError
from ncsr.hub.card import Card, hub_page
from ncsr.hub.pushing import push
from tests.conftest import TINY, Command
from tests.hub.conftest import NAME
from tests.hub.stand_in import READER, WRITER, Files, StandIn
from tests.hub.test_fetching import same


@pytest.fixture
def signed_in(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITER)


def pushed(hub: StandIn, revision: str = "main", name: str = NAME) -> Files:
    """What a repository holds there."""
    commit = hub.repos[name].find(revision)
    assert commit is not None
    return hub.repos[name].commits[commit]


def page(text: bytes | str) -> tuple[dict[str, Any], str]:
    """Metadata and text of a README.md."""
    _, metadata, text = (text.decode() if isinstance(text, bytes) else text).split("---\n", 2)
    return yaml.safe_load(metadata), text.lstrip()


@pytest.mark.usefixtures("signed_in")
def test_a_model_there_and_back(hub: StandIn, tiny_model: ncsr.NCSR) -> None:
    address = tiny_model.push_to_hub(
        NAME, licence="CC-BY-4.0", base_model="kim/x4", datasets=["kim/cats"], private=True, commit_message="First"
    )
    assert address == f"{hub.endpoint}/{NAME}/commit/{hub.repos[NAME].refs['main']}"
    assert hub.repos[NAME].private
    assert hub.messages == ["First"]
    files = pushed(hub)
    assert {*files} == {"README.md", "card.json", "config.json", "model.safetensors"}
    metadata, text = page(files["README.md"])
    assert metadata == {
        "license": "cc-by-4.0",
        "library_name": "ncsr",
        "pipeline_tag": "image-to-image",
        "tags": ["super-resolution", "x4", "normalizing-flow"],
        "base_model": "kim/x4",
        "datasets": ["kim/cats"],
    }
    assert text.startswith("# tiny\n\nSuper-resolution by 4, a conditional normalizing flow")
    assert f'ncsr.load("{NAME}")' in text
    assert "not for identification" in text
    assert same(ncsr.load(NAME, "cpu"), tiny_model)


def test_a_token_that_is_given_is_taken(hub: StandIn, tiny_model: ncsr.NCSR) -> None:
    tiny_model.push_to_hub(NAME, token=WRITER)
    assert hub.messages == ["Push a model of ncsr"]


@pytest.mark.usefixtures("signed_in")
def test_branches_and_pull_requests(hub: StandIn, tiny_model: ncsr.NCSR, tiny_model_folder: Path) -> None:
    assert tiny_model.push_to_hub(NAME, branch="half", half=True).endswith(hub.repos[NAME].refs["half"])
    assert pushed(hub) == {}
    assert (
        len(pushed(hub, "half")["model.safetensors"]) < 0.7 * (tiny_model_folder / "model.safetensors").stat().st_size
    )
    assert tiny_model.push_to_hub(NAME, branch="half", create_pr=True) == f"{hub.endpoint}/{NAME}/discussions/1"
    assert ncsr.load(f"{NAME}@half", "cpu").config == TINY


@pytest.mark.usefixtures("signed_in")
def test_push(hub: StandIn, ncsr_: Command, tiny_model: ncsr.NCSR, tmp_path: Path) -> None:
    """The folder's own card goes first; nothing goes that it does not name."""
    folder = tmp_path / "run" / "model"
    tiny_model.save_pretrained(folder)
    own = "---\nlanguage: en\ntags: [cats]\n---\n# Cats\n\n![a](sheet.jpg), `people.csv`, `ncsr upscale cat.png`\n"
    card = '{"licence": "MIT", "lpips": 0.25, "measured_on": "temperature 0.8, Set5"}'
    texts = {"README.md": own, "card.json": card, "LICENSE": "MIT", "people.csv": "", "cat.png": "", "step.pt": ""}
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "sheet.jpg").write_bytes(b"picture")
    done = ncsr_("push", folder, NAME, "--base-model", "kim/x4")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{hub.endpoint}/{NAME}/commit/")
    files = pushed(hub)
    assert {*files} == {
        "config.json",
        "model.safetensors",
        "LICENSE",
        "README.md",
        "card.json",
        "people.csv",
        "sheet.jpg",
    }
    metadata, text = page(files["README.md"])
    assert text == "# Cats" + own.partition("# Cats")[2]
    assert (metadata["tags"], metadata["language"], metadata["license"]) == (["cats"], "en", "mit")
    assert (metadata["base_model"], metadata["metrics"]) == ("kim/x4", ["lpips"])
    (result,) = metadata["model-index"][0]["results"]
    assert result["dataset"]["name"] == "temperature 0.8, Set5"
    assert (result["metrics"][0]["type"], result["metrics"][0]["value"]) == ("lpips", 0.25)
    assert (folder / "README.md").read_text() == own
    assert "\nlicence: MIT\n" in ncsr_("info", NAME).out
    again = ncsr_("push", NAME, "lee/tiny")
    assert again.code == 0
    assert pushed(hub, name="lee/tiny")["model.safetensors"] == files["model.safetensors"]


@pytest.mark.usefixtures("signed_in")
def test_a_licence_is_asked_for(hub: StandIn, ncsr_: Command, tiny_model_folder: Path) -> None:
    done = ncsr_("push", tiny_model_folder, NAME)
    assert (done.code, done.err.count("\n")) == (0, 1)
    assert "names no licence, without which nobody may use the model: push again with --licence" in done.err
    assert "No licence is named." in pushed(hub)["README.md"].decode()
    assert ncsr_("push", tiny_model_folder, NAME, "--licence", "CC0-1.0").err == ""
    assert page(pushed(hub)["README.md"])[0]["license"] == "cc0-1.0"


def test_what_is_not_taken(
    hub: StandIn, ncsr_: Command, tiny_model: ncsr.NCSR, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(reason: str) -> None:
        ncsr_("push", tiny_model_folder, NAME, "--licence", "MIT").failed(reason)
        with pytest.raises(ncsr.InputError, match=reason):
            tiny_model.push_to_hub(NAME)

    refused(f"the hub wants a valid token for {NAME}: sign in with `hf auth login` or HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", READER)
    refused(f"your token may not do this with {NAME}: take one that may, of {hub.endpoint}/settings/tokens")
    hub.down = True
    refused(f"the hub answered 503 about {NAME}: Service Unavailable; try again later")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    refused(f"{NAME} broke off: .*refused; try again")
    for wrong in ("tiny", "kim/tiny@v1", "a/b/c"):
        ncsr_("push", tiny_model_folder, wrong).failed(f"must be OWNER/NAME, got '{wrong}'; --branch names a branch")
    ncsr_("push", tiny_model_folder / "model.safetensors", NAME).failed("is a file: push the folder of the model")
    ncsr_("push", tiny_model_folder.parent, NAME).failed(r"no model in .*expected a folder with config\.json")
    assert hub.repos == {}


def test_pages() -> None:
    metadata, text = page(hub_page(NAME, TINY.model_copy(update={"flow": None}), Card(), None))
    assert metadata == {
        "library_name": "ncsr",
        "pipeline_tag": "image-to-image",
        "tags": ["super-resolution", "x4"],
    }
    assert "an RRDB encoder: one image of each photograph" in text
    for wrong in ("---\n{\n---\n# A", "---\n- a list\n---\n# A"):
        with pytest.raises(
            ncsr.InputError, match=r"README\.md begins with metadata that cannot be read: .*; correct them"
        ):
            hub_page(NAME, TINY, Card(), wrong)


def test_a_card_that_is_not_utf_8_is_told(tiny_model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    (folder / "README.md").write_bytes(b"# K\xf6ln\n")
    with pytest.raises(InputError, match=r"README\.md is not UTF-8, which the hub takes: store it as that"):
        push(folder, "owner/name", Card())
