"""The page about the hub, against the stand-in: first the model goes there, then it comes from there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

import ncsr
from tests.conftest import Command, scene8
from tests.hub.stand_in import WRITER, StandIn


def test_the_examples(
    hub: StandIn, ncsr_: Command, tiny_model: ncsr.NCSR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "ecosystem.md").read_text(encoding="utf-8")
    load, use, push, send = re.findall(r"```(?:python|sh)\n(.*?)```", text.partition("\n## deepinv")[0], re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", WRITER)
    tiny_model.save("run/model")
    for path in (Path("examples/cat.png"), Path("photo.png")):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(scene8(8, 8)).save(path)
    names = {"ncsr": ncsr}
    exec(push, names)
    assert ncsr_(*shlex.split(send)[1:]).code == 0
    repo = hub.repos["owner/name"]
    repo.refs["v1"] = repo.refs["main"]
    exec(load, names)
    assert names["pictures"][0].size == (32, 32)
    assert [ncsr_(*shlex.split(command)[1:]).code for command in use.splitlines()] == [0, 0]
    assert Path("out/photo_s3.png").is_file()
