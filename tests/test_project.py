"""Facts that stand in several of the project's files must agree."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

import ncsr
from ncsr.hub.card import read_card
from ncsr.pretrained.load import BUNDLED

ROOT = Path(__file__).parent.parent


def found(pattern: str, file: str) -> set[str]:
    return set(re.findall(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE))


def test_version_stands_in_one_place():
    assert found(r'^version = "(.+)"', "pyproject.toml") == {ncsr.__version__}
    assert found(r"^version: (.+)", "CITATION.cff") == set()


def test_versions_of_python_are_those_that_are_tested():
    classifiers = found(r'"Programming Language :: Python :: (3\.\d+)"', "pyproject.toml")
    assert classifiers == set(re.findall(r"3\.\d+", "".join(found(r"python: (\[.+\])", ".github/workflows/ci.yml"))))
    oldest, newest = sorted(classifiers, key=lambda name: int(name[2:]))[:: len(classifiers) - 1]
    assert found(r'^requires-python = ">=(.+)"', "pyproject.toml") == {oldest}
    assert found(r"^MATRIX = (.+)$", "Makefile") == {f"{oldest} {newest}"}
    assert found(r"^Python (3\.\d+ to 3\.\d+) ", "README.md") == {f"{oldest} to {newest}"}


def test_every_extra_is_told_of():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    told = found(r"^\| `(\w+)` \|", "README.md")
    assert told == set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))
    (installed,) = found(r"-e '\.\[(.+)\]'", "Makefile")
    # deepinv's torchvision must be of torch's own build; where it is not there, the tests have a stand-in
    assert set(installed.split(",")) == told - {"deepinv"}


def test_nothing_that_was_tried_out_is_kept():
    """Files in the repository's folder are of the kinds that belong there; what else there is, git leaves out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listed.returncode:
        pytest.skip("no checkout of git")
    names = [name for name in listed.stdout.decode().split("\0") if name]
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert folders <= {".ci", ".github", "benchmarks", "docs", "examples", "src", "tests"}
    files = {name for name in names if "/" not in name}
    assert [
        name for name in files if not re.search(r"^[A-Z]+$|^Makefile$|\.(md|toml|yml|yaml|txt|cff)$|^\.", name)
    ] == []
    assert {name for name in files if name.endswith((".yml", ".yaml", ".txt"))} == {
        ".pre-commit-config.yaml",
        "constraints.txt",
        "mkdocs.yml",
    }


def test_changes_stand_under_versions():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \(20\d\d-\d\d-\d\d\)", heading) for heading in headings[1:])
    assert found(r"^### (.+)$", "CHANGELOG.md") <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


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


def test_methods_that_the_architecture_names_exist():
    names = set(re.findall(r"`([A-Z]\w+)\.(\w+)`", (ROOT / "docs/architecture.md").read_text(encoding="utf-8")))
    assert len(names) > 15
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "src/ncsr").rglob("*.py")]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    defined = {(c.name, part.name) for c in classes for part in c.body if isinstance(part, ast.FunctionDef)}
    assert names - defined == set()


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


def test_one_table_names_all_licences():
    table = dict(
        re.findall(r"^\| ([^|]+) \| ([\w.-]+) \| ", (ROOT / "src/ncsr/licences.md").read_text("utf-8"), re.MULTILINE)
    )
    models = {f"model {path.name}": card.licence for path in BUNDLED.iterdir() if (card := read_card(path))}
    assert len(models) > 2
    assert models.items() == {(what, licence) for what, licence in table.items() if what.startswith("model ")}
    (expression,) = found(r'^license = "(.+)"', "pyproject.toml")
    assert set(expression.split(" AND ")) == set(table.values()) - {"CC0-1.0", "licence"}
