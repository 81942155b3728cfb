"""Facts that stand in several of the project's files must agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ncsr
from ncsr.pretrained.card import read_card

ROOT = Path(__file__).parent.parent


def found(pattern: str, file: str) -> set[str]:
    return set(re.findall(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE))


def test_version_of_package_and_citation():
    version = found(r'^version = "(.+)"', "pyproject.toml")
    assert version == {ncsr.__version__}
    assert found(r"^version: (.+)", "CITATION.cff") == version


def test_linter_of_constraints_and_pre_commit():
    version = found(r"^ruff==(.+)", "constraints.txt")
    assert len(version) == 1
    assert found(r"\bruff==([\w.]+)", ".pre-commit-config.yaml") == version


def test_every_dependency_has_an_exact_version():
    names = {name.lower().replace("_", "-") for name in found(r'^ *"?([\w-]+)>=', "pyproject.toml")}
    names |= {"tensorboard"}
    assert len(names) > 15
    assert names - {"hatchling"} <= found(r"^([\w-]+)==", "constraints.txt")


@pytest.mark.parametrize("document", ["docs/architecture.md", "docs/mathematics.md", "docs/glossary.md"])
def test_files_that_the_documents_name_exist(document):
    names = found(r"`([\w/]+\.py)`", document)
    assert len(names) > 15
    assert [name for name in sorted(names) if not (ROOT / "src/ncsr" / name).is_file()] == []


def test_the_licence_is_true_of_all_that_the_wheel_holds():
    (expression,) = found(r'^license = "(.+)"', "pyproject.toml")
    (line,) = found(r"^license-files = \[(.+)\]", "pyproject.toml")
    named = {path for pattern in re.findall(r'"(.+?)"', line) for path in ROOT.glob(pattern)}
    texts = {*(ROOT / "src").rglob("LICENSE*"), ROOT / "LICENSE"}
    assert len(texts) > 4
    assert named == texts
    words = {
        "LICENSE-linear": ("Redistributions in binary form", "BSD-2-Clause"),
        "LICENSE-convolutions": ("Neither the name of", "BSD-3-Clause"),
    }
    for path in texts:
        card = read_card(path.parent)
        of_model = card and (card.licence.replace("CC-", "CC ").replace("-4.0", " 4.0"), card.licence)
        text, identifier = of_model or words.get(path.name, ("Apache License", "Apache-2.0"))
        assert text in path.read_text(encoding="utf-8")
        assert identifier in expression.split(" AND ")
