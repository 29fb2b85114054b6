"""Sphinx extension that writes the reference of the command line from the commands' own help.

In a page, the line `<!-- commands -->` becomes a section for each command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

import kmeans_dask.cli  # noqa: F401 - it adds the commands
from kmeans_dask.cli.app import app as command_line

MARKER = "<!-- commands -->"
SPECIAL = re.compile(r"([\\`*_<>\[\]|#])")
OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")
BRACES = re.compile(r"\{(.*?)\}(?:\.\.\.)?")  # around arguments
EXAMPLE = re.compile(r"Example: (.+)")
PANELS = ("Arguments", "Options")  # of parameters that name none


def describe_commands() -> str:
    """Return the reference of all commands as Markdown, in the order of `--help`."""
    group = typer.main.get_command(command_line)
    assert isinstance(group, typer.core.TyperGroup)
    context = typer.Context(group, info_name="kmeans-dask")
    names = group.list_commands(context)
    return "\n".join(
        line for name in names for line in describe(name, group.commands[name], context)
    )


def describe(name: str, command: Any, parent: Any) -> Iterator[str]:
    """Yield the lines of a command's section: what it does, an example, and its options."""
    context = typer.Context(command, info_name=name, parent=parent)
    yield from (f"## {name}", "", escape(command.help or ""), "")
    usage = " ".join(["kmeans-dask", name, *command.collect_usage_pieces(context)])
    yield from ("```", BRACES.sub(r"\1", usage), "```", "")
    if command.epilog:
        yield from (EXAMPLE.sub(r"Example: `\1`", command.epilog), "")
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record:
            default = PANELS[parameter.param_type_name == "option"]
            panel = getattr(parameter, "rich_help_panel", None) or default
            panels.setdefault(panel, []).append(record)
    for panel, records in panels.items():
        yield from (f"**{panel}**", "")
        for words, explanation in records:
            yield from (f"`{words}`", f": {escape(explanation)}", "")


def escape(text: str) -> str:
    """Return text as Markdown that shows it as it is, with the names of options as code."""
    return OPTION.sub(r"`\g<0>`", SPECIAL.sub(r"\\\1", text))


def insert_commands(app: Any, docname: str, content: list[str]) -> None:
    """Replace the marker in a page by the reference."""
    if MARKER in content[0]:
        content[0] = content[0].replace(MARKER, describe_commands())


def setup(app: Any) -> dict[str, bool]:
    """Connect this extension to Sphinx."""
    app.connect("source-read", insert_commands)
    return {"parallel_read_safe": True}
