"""Pages that are written from the code: every public name of Python, every option of every command."""

from __future__ import annotations

from importlib import import_module
from inspect import cleandoc
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from ncsr.cli import app

MODULES = ("ncsr", "ncsr.images", "ncsr.latents", "ncsr.metrics", "ncsr.metrics.streaming")


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages."""
    pages = {f"reference/{module}.md": python_page(module) for module in MODULES}
    pages["reference/command-line.md"] = command_page(typer.main.get_command(app))
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))


def python_page(module: str) -> str:
    """Of a module: what it says of itself, then each name of its `__all__`; mkdocstrings fills in both."""
    itself = f"::: {module}\n    options: {{members: false, show_root_heading: false, show_root_toc_entry: false}}"
    names = [f"::: {module}.{name}" for name in import_module(module).__all__]
    return "\n\n".join([f"# {module}", itself, *names, ""])


def command_page(group: Any) -> str:
    """Of all commands: what `--help` says, option by option."""
    context = typer.Context(group, info_name="ncsr", **group.context_settings)
    lines = ["# Command line", "", "What `ncsr COMMAND --help` says, of all commands.", "", *options(group, context)]
    for name, command in sorted(group.commands.items()):
        inner = typer.Context(command, info_name=name, parent=context)
        usage = " ".join(command.collect_usage_pieces(inner))
        lines += [f"## ncsr {name}", "", f"    ncsr {name} {usage}", "", escaped(cleandoc(command.help or "")), ""]
        lines += options(command, inner)
    return "\n".join(lines)


def options(command: Any, context: Any) -> list[str]:
    """A table of a command's options; arguments stand in its usage."""
    records = [record for p in command.get_params(context) if (record := p.get_help_record(context))]
    return ["| option | meaning |", "|---|---|", *(f"| `{what}` | {escaped(text)} |" for what, text in records), ""]


def escaped(text: str) -> str:
    """Help as Markdown that shows it as it is."""
    for letter in "\\<|*_[]":
        text = text.replace(letter, f"\\{letter}")
    return text
