"""Facts that stand in several of the project's files must agree."""

from __future__ import annotations

import re
from pathlib import Path

import ncsr

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


def test_files_that_the_mathematics_names_exist():
    names = found(r"`([\w/]+\.py)`", "docs/mathematics.md")
    assert len(names) > 15
    assert [name for name in sorted(names) if not (ROOT / "src/ncsr" / name).is_file()] == []
