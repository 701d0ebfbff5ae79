"""What all commands share in writing: the `--json` option and its document, and text that no terminal obeys."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import orjson
import typer

Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout, nothing else there")]


def printable(text: str) -> str:
    """Return a text that may come from data with control characters shown as escapes; lines and tabs stay."""
    return "".join(each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)


def print_json(document: Any) -> None:
    """Write one JSON document to stdout, decimals as numbers."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    sys.stdout.write(orjson.dumps(document, default=float, option=options).decode())
