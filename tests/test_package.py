"""What `import ncsr` gives, and what it does not cost."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from inspect import isfunction, unwrap
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

import ncsr
from ncsr import images, metrics

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "numpy", "pydantic", "huggingface_hub", "PIL")


def imported_by(statement: str) -> list[str]:
    """Which of the heavy packages a statement imports in a fresh process."""
    command = f"import sys\n{statement}\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", command],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(ncsr.__file__).parents[1],
    )
    return done.stdout.split()


def test_importing_the_package_imports_no_heavy_one() -> None:
    assert imported_by("import ncsr, ncsr.errors; ncsr.InputError, ncsr.__version__, dir(ncsr)") == []
    assert imported_by("import ncsr; ncsr.ModelConfig") == ["pydantic"]


def test_help_imports_no_heavy_package() -> None:
    """Every module of a command is imported for it."""
    assert imported_by("import ncsr.cli, typer.testing; typer.testing.CliRunner().invoke(ncsr.cli.app, '--help')") == []


@pytest.mark.parametrize("name", ncsr.__all__)
def test_public_names(name: str) -> None:
    value = getattr(ncsr, name)
    assert getattr(import_module(value.__module__), name) is value
    assert name in dir(ncsr)


def test_public_names_are_imported_as_of_any_package() -> None:
    from ncsr import NCSR, upscale
    from ncsr.model import NCSR as HOME

    assert NCSR is HOME
    assert upscale.__module__ == "ncsr.upscaling.api"


def test_readme_names_all_modules_with_public_names() -> None:
    source, readme = Path(ncsr.__file__).parent, (ROOT / "README.md").read_text(encoding="utf-8")
    public = set()
    for path in source.rglob("*.py"):
        if "\n__all__ = [" in path.read_text(encoding="utf-8"):
            parts = path.relative_to(source.parent).with_suffix("").parts
            public.add(".".join(part for part in parts if part != "__init__"))
    assert set(re.findall(r"`(ncsr[\w.]*)\.__all__`", readme)) == public
    for name in public - {"ncsr.metrics.streaming"}:  # that needs an extra
        module = import_module(name)
        assert all(hasattr(module, name) for name in module.__all__)


INTERNAL = {"Space.__init__", "Space.draw", "NCSR.folded"}
"""What the package itself calls alone."""


def functions_of(name: str, value: object) -> Iterator[tuple[str, Callable[..., object]]]:
    """A function, or the methods and properties of a class that come from this package."""
    if not isinstance(value, type):
        yield from [(name, unwrap(value))] if callable(value) else []
        return
    for each in value.__mro__:
        for key, member in vars(each).items() if each.__module__.startswith("ncsr") else ():
            function = getattr(member, "__func__", getattr(member, "fget", member))
            if isfunction(function) and (key == "__init__" or not key.startswith("_")):
                yield f"{name}.{key}", unwrap(function)


def types_in(hint: object) -> Iterator[type]:
    """The classes of this package in an annotation."""
    for part in (hint, *get_args(hint)):
        if part is not hint:
            yield from types_in(part)
        elif isinstance(part := get_origin(part) or part, type) and part.__module__.startswith("ncsr"):
            yield part


def test_types_of_public_signatures_are_public() -> None:
    modules = [ncsr, images, metrics]
    for_types = {name: getattr(ncsr, name) for name in ncsr.__all__} | {"Self": Any}  # imported for type checkers alone
    public = {getattr(module, name) for module in modules for name in module.__all__}
    hidden = {
        f"{name}: {found.__qualname__}"
        for module in modules
        for attribute in module.__all__
        for name, function in functions_of(attribute, getattr(module, attribute))
        if name not in INTERNAL
        for hint in get_type_hints(function, for_types | vars(sys.modules[function.__module__])).values()
        for found in types_in(hint)
        if found not in public
    }
    assert hidden == set()


def test_other_names_are_missing() -> None:
    with pytest.raises(AttributeError, match="module 'ncsr' has no attribute 'enlarge'"):
        _ = ncsr.enlarge  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        from ncsr import enlarge  # type: ignore[attr-defined]  # noqa: F401
