"""Writes the tables of promises in docs anew from the marks of the tests: `make docs`. A test compares.

Promises P1, P2 … are those of reliability.md, S1, S2 … those of security.md.

Only what stands between `<!-- promises -->` and `<!-- end of promises -->` is written; the rest is by hand.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGES = {"P": Path(__file__).with_name("reliability.md"), "S": Path(__file__).with_name("security.md")}
TESTS = Path(__file__).parent.parent / "tests"


@dataclass(frozen=True)
class Shown:
    """A promise, in the words of a test's mark, and the tests of one file that show it, as sentences."""

    number: str
    words: str
    file: Path
    sentences: tuple[str, ...]


def document(letter: str) -> str:
    """Return the text of the page for promises of this letter, with the table as the tests have it now."""
    return replaced(PAGES[letter].read_text("utf-8"), "promises", "\n".join(_table(letter)))


def replaced(page: str, region: str, text: str) -> str:
    """Return the page's text with another one in the region of this name; raises `ValueError` for a page without it."""
    begin, end = f"<!-- {region} -->\n", f"<!-- end of {region} -->"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"no region {region}")
    return f"{before}{begin}{text}\n{end}{after}"


def _table(letter: str) -> Iterator[str]:
    yield "| promise | what is promised | tests that show it |"
    yield "|---|---|---|"
    shown = (each for each in _shown() if each.number.startswith(letter))
    for each in sorted(shown, key=lambda each: (int(each.number[1:]), each.file)):
        link = f"[{each.file.name}](../{each.file.relative_to(TESTS.parent)})"
        yield f"| {each.number} | {each.words} | {'<br>'.join([f'{link}:', *each.sentences])} |"


def _shown() -> Iterator[Shown]:
    for file in TESTS.rglob("test_*.py"):
        body = ast.parse(file.read_text("utf-8")).body
        whole = [mark for node in body if isinstance(node, ast.Assign) for mark in _marks([node.value])]
        tests = {
            node.name: node for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        }
        for number, words in whole:
            yield Shown(number, words, file, tuple(map(_sentence, tests)))
        single: dict[tuple[str, str], list[str]] = {}
        for name, node in tests.items():
            for mark in _marks(node.decorator_list):
                single.setdefault(mark, []).append(_sentence(name))
        for (number, words), sentences in single.items():
            yield Shown(number, words, file, tuple(sentences))


def _marks(expressions: list[ast.expr]) -> Iterator[tuple[str, str]]:
    """Yield the arguments of each `pytest.mark.promise(number, words)` in these expressions."""
    for expression in expressions:
        for call in ast.walk(expression):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.promise":
                number, words = (ast.literal_eval(argument) for argument in call.args)
                yield number, words


def _sentence(name: str) -> str:
    return re.sub("_+", " ", name.removeprefix("test_"))


if __name__ == "__main__":
    for letter, page in PAGES.items():
        page.write_text(document(letter), "utf-8")
