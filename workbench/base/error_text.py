"""One line of an exception that keeps its meaning, whatever library raised it; a first line alone often holds none.

gRPC puts code and details on the lines after the first, PostgreSQL the names of objects (DETAIL) and the way out
(HINT), the JVM its reason behind the last `Caused by`; pika's connection errors have no text at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LONGEST = 800
_RPC_ERROR = re.compile(
    r"<_\w*RpcError of RPC that terminated with:\s*status = StatusCode\.(\w+)\s*details = \"(.*?)\"\n.*?\n\s*>",
    re.DOTALL,
)
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_CAUSED_BY = "Caused by: "
_READ_ON = re.compile(r"For more information check: \S+")
# What is no reason: frames of a stack, dbt's macros, a mark under a statement.
_NOISE = re.compile(
    r"at [\w.$/]+\(|\.\.\. \d+ (?:more|common)|>|\^|LINE \d+:|CONTEXT: |JVM stacktrace:|"
    r"\[SQL: |\[parameters: |\(Background on this error "
)


def one_line(error: BaseException, longest: int = _LONGEST) -> str:
    """Return the text of an exception as one line; of one without a text, its class and the exception inside of it."""
    classes: list[str] = []
    seen: set[int] = set()
    inside: BaseException | None = error
    while inside is not None and id(inside) not in seen:
        if text := joined(str(inside), longest):
            return ": ".join([*classes, text])
        seen.add(id(inside))
        classes.append(type(inside).__name__)
        inside = next(_inside(inside), None)
    return ": ".join(classes)


def joined(text: str, longest: int = _LONGEST) -> str:
    """Return the lines of an exception's text that hold a meaning as one line."""
    text = _READ_ON.sub("", _RPC_ERROR.sub(r"\1: \2", text))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    meaningful = [line for line in lines if line and not _NOISE.match(line) and not line.startswith(_CAUSED_BY)]
    causes = [line for line in lines if line.startswith(_CAUSED_BY)]
    cause = f" ({causes[-1]})"[:longest] if causes else ""
    line, room = " ".join(meaningful), longest - len(cause)
    return (line if len(line) <= room else f"{line[: room - 1]}…") + cause


def without_terminal_codes(text: str) -> str:
    """Remove ANSI escape sequences, as for colours, from a text."""
    return _TERMINAL_CODES.sub("", text)


def _inside(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions that this one was made of or from."""
    waiting: list[object] = [*error.args, getattr(error, "exception", None), error.__cause__, error.__context__]
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException):
            yield each
        elif isinstance(each, tuple | list):
            waiting[:0] = each
