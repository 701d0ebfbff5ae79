"""What all commands share in writing: the `--json` option and its document."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import orjson
import typer

Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout, nothing else there")]


def print_json(document: Any) -> None:
    """Write one JSON document to stdout, decimals as numbers."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    sys.stdout.write(orjson.dumps(document, default=float, option=options).decode())
