"""Outputs and text of cells as HTML that is safe to show: no content of the data stays active.

nbconvert renders Markdown and code, but sanitises neither by default, and SVG, JavaScript, widgets and attributes pass
what sanitising it has. So each MIME type has a rule here; types without a rule are not shown.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Mapping
from typing import Any

import nh3
from markupsafe import Markup
from nbconvert.filters import markdown2html
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from workbench.base.error_text import without_terminal_codes

PLOTLY_MIME = "application/vnd.plotly.v1+json"
BUDGET_BYTES = 2_400_000
_SCHEME = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*:")
_SCHEMES = {"http", "https", "mailto", "data"}
_PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+")
_FORMATTER = HtmlFormatter(nowrap=True)
_PICTURES = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif"}
_LEFT_OUT = "Left out of the report because of its size ({size:,} characters); the executed notebook has it."


def _attribute(tag: str, attribute: str, value: str) -> str | None:
    """Let pictures only hold their own bytes, and links only lead where a person can go: no file lies beside us."""
    if (tag, attribute) == ("img", "src"):
        return value if _PICTURE.fullmatch(value) else None
    if attribute == "href" and not _SCHEME.match(value):
        return None
    if value.strip().lower().startswith("data:"):
        return None
    return value


def sanitised(fragment: str) -> Markup:
    """Return the HTML without scripts, styles, forms, frames, ids, classes, event handlers and foreign pictures."""
    clean = nh3.clean(
        fragment,
        tags=nh3.ALLOWED_TAGS - {"area", "map", "nav", "header", "footer", "aside", "details", "summary"},
        url_schemes=_SCHEMES,
        attribute_filter=_attribute,
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(clean)


def text_html(source: str) -> Markup:
    """Render a Markdown cell."""
    return sanitised(re.sub(r'<a class="anchor-link"[^>]*>.*?</a>', "", markdown2html(source)))


def code_html(source: str) -> Markup:
    """Render a code cell, highlighted."""
    return Markup(f'<pre class="highlight">{highlight(source, PythonLexer(), _FORMATTER)}</pre>')


class OutputRenderer:
    """Renders the outputs of one report within a budget of bytes, and counts its figures."""

    def __init__(self) -> None:
        self.figures = 0
        self._left = BUDGET_BYTES

    def render(self, output: NotebookNode) -> Markup:
        """Return one output as HTML, or a note in its place."""
        shown = self._shown(output)
        size = len(shown.encode("utf-8", "replace"))
        if size > self._left:
            return Markup('<p class="note">{}</p>').format(_LEFT_OUT.format(size=size))
        self._left -= size
        return shown

    def _shown(self, output: NotebookNode) -> Markup:
        if output.output_type == "stream":
            return Markup('<pre class="printed {}">{}</pre>').format(
                "stderr" if output.name == "stderr" else "stdout", without_terminal_codes(output.text)
            )
        if output.output_type == "error":
            return Markup('<pre class="raised">{}</pre>').format(
                without_terminal_codes("\n".join(output.traceback) or output.evalue)
            )
        return self._display(output.get("data", {}))

    def _display(self, data: Mapping[str, Any]) -> Markup:
        if PLOTLY_MIME in data:
            return self._figure(data[PLOTLY_MIME])
        if "text/html" in data and (table := sanitised(data["text/html"])).strip():
            return Markup('<div class="frame">{}</div>').format(table)
        if "image/svg+xml" in data:
            return _picture("svg+xml", base64.b64encode(data["image/svg+xml"].encode()).decode())
        for mime, kind in _PICTURES.items():
            if mime in data and _is_base64(data[mime]):
                return _picture(kind, "".join(data[mime].split()))
        if "text/markdown" in data:
            return text_html(data["text/markdown"])
        if "text/plain" in data:
            return Markup('<pre class="printed">{}</pre>').format(without_terminal_codes(data["text/plain"]))
        kinds = ", ".join(sorted(data)) or "nothing"
        return Markup('<p class="note">Output of a kind this report does not show: {}</p>').format(kinds)

    def _figure(self, figure: Any) -> Markup:
        if not isinstance(figure, Mapping):
            return Markup('<p class="note">A figure that is no figure.</p>')
        self.figures += 1
        name = f"figure-{self.figures}"
        return Markup(
            '<figure class="plot"><div data-figure="{}"></div><figcaption class="note">{}</figcaption></figure>'
            '<script type="application/json" id="{}">{}</script>'
        ).format(name, _in_words(figure), name, data_block(figure))


def data_block(value: Any) -> Markup:
    """Return JSON that cannot end the script element it stands in, nor begin a comment or another script there."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def highlight_style() -> str:
    """Return the CSS of highlighted code, light and dark."""
    light = HtmlFormatter(style="xcode").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    ground = ".highlight, .highlight .err { background: none !important; border: 0 }"
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n{ground}"


def _picture(kind: str, content: str) -> Markup:
    # An SVG inside an img element is shown without scripts and without loading anything.
    return Markup('<img alt="Picture made by this cell" src="data:image/{};base64,{}">').format(kind, content)


def _in_words(figure: Mapping[str, Any]) -> str:
    layout = figure.get("layout") or {}
    title = layout.get("title") or "" if isinstance(layout, Mapping) else ""
    text = title.get("text") or "" if isinstance(title, Mapping) else str(title)
    traces = [trace for trace in figure.get("data") or [] if isinstance(trace, Mapping)]
    kinds = ", ".join(str(trace.get("name") or trace.get("type") or "trace") for trace in traces[:8])
    plain = html.unescape(re.sub(r"<[^>]*>", "", text))
    return f"Figure (needs JavaScript to be drawn): {plain or 'untitled'} · {len(traces)} series: {kinds}"


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
