"""Output that all commands share: the `--json` option and its document, and text without control characters."""

from __future__ import annotations

import io
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
    write_in(encoding="utf-8")
    print(orjson.dumps(document, default=float, option=orjson.OPT_INDENT_2).decode())


def write_in(*, encoding: str | None = None, errors: str | None = None) -> None:
    """Set `encoding` or `errors` of stdout: JSON is UTF-8 in every locale, and no locale may make a command fail."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # closed, it is None
        sys.stdout.reconfigure(encoding=encoding, errors=errors)
