"""Templates and the words, numbers and times in them; the parts of a run's page that change while it is watched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path

import plotly
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.graph_objects import Figure

from workbench.base.settings import Settings
from workbench.base.text_formats import UNKNOWN, Tone, count_text, seconds_text, size_text, tone_of
from workbench.stage.changed_files import changed_files_text
from workbench.state.run_snapshot import RunSnapshot
from workbench.web.dependencies import Actions
from workbench.web.run_view import run_view

_TEMPLATES = Path(__file__).with_name("templates")
RUN_PARTS = ("headline", "stages", "counts", "files", "log")
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
PLOTLY_NAME = f"plotly-{plotly.__version__}.min.js"
_MARKS = {Tone.GOOD: "✓", Tone.BAD: "✗", Tone.WARN: "■", Tone.BUSY: "●", Tone.QUIET: "○"}


def templates() -> Environment:
    """Return the templates with everything they call."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count_text,
        "seconds": seconds_text,
        "size": size_text,
        "moment": moment_text,
        "figure": figure_block,
        "shown": value_text,
        "change": change_text,
    }
    environment.globals["changed_files_text"] = changed_files_text
    environment.globals |= {"badge": badge, "plotly": PLOTLY_NAME, "plotly_styles": plotly_styles()}
    return environment


def run_parts(environment: Environment, settings: Settings, actions: Actions, run: RunSnapshot) -> Mapping[str, str]:
    """Render the parts of a run's page that change, by the id of their element."""
    values = {"run": run_view(settings, run), "offers": actions}
    return {name: environment.get_template(f"_run_{name}.html").render(values) for name in RUN_PARTS}


@cache
def plotly_styles() -> tuple[str, ...]:
    """Return the ids of the style sheets that Plotly would add while it loads, which the policy refuses.

    It adds none whose id is there already, and nothing is drawn here that needs one: empty ones take their place.
    """
    return tuple(dict.fromkeys(re.findall(r'getElementById\("([0-9a-f]{64})"\)', PLOTLY.read_text("utf-8"))))


def badge(status: str) -> Markup:
    """Return a status as a word in its colour, with a mark for readers without colours."""
    tone = tone_of(status)
    words = status.replace("_", " ")
    mark = Markup('<span aria-hidden="true">{}</span> ').format(_MARKS[tone])
    return Markup('<span class="badge {}">{}{}</span>').format(tone, mark, words)


def value_text(value: object) -> str:
    """Return any value as a person writes it."""
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}" if isinstance(value, float) else str(value)


def change_text(change: float | None) -> str:
    """Return by how much something has changed, with its sign."""
    return UNKNOWN if change is None else "0" if change == 0 else f"{change:+,}"


def moment_text(moment: datetime | str | None) -> Markup:
    """Return a moment in UTC, to the second."""
    if moment is None:
        return Markup(UNKNOWN)
    when = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return Markup('<time datetime="{}">{}</time>').format(when.isoformat(), f"{when:%Y-%m-%d %H:%M:%S} UTC")


def figure_block(figure: Figure, words: str) -> Markup:
    """Return a figure as the page's script draws it, and `words` as its description."""
    data = figure.to_json().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(
        '<figure class="plot"><div data-figure role="img" aria-label="{}"></div><figcaption>{}</figcaption></figure>'
        '<script type="application/json">{}</script>'
    ).format(words, words, Markup(data))
