"""The theme of all figures: colours that colour-blind people tell apart, readable on light and on dark pages.

The palette is Okabe and Ito's (Color Universal Design, 2008) without black and yellow, which vanish on one of the
two backgrounds. Figures have no background of their own; text is a grey with a contrast of 4.5 to white and to black.
"""

from __future__ import annotations

import html
import re

import plotly.graph_objects as go

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
ACCENT, WARNING = PALETTE[0], PALETTE[5]
TEXT = "#767676"
QUIET = "#999999"
_LABEL_CHARACTERS = 60
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_GRID = "rgba(128, 128, 128, 0.25)"
_CLEAR = "rgba(0, 0, 0, 0)"


def titled(figure: go.Figure, title: str, x_title: str, y_title: str) -> go.Figure:
    """Give a figure the template, its title, and axis titles with their units."""
    figure.update_layout(template=_template(), title=title, xaxis_title=x_title, yaxis_title=y_title)
    return figure


def horizontal_bars(figure: go.Figure, title: str, x_title: str, y_title: str = "") -> go.Figure:
    """Do the same for horizontal bars, whose numbers are on the x axis."""
    return titled(figure, title, x_title, y_title).update_xaxes(tickformat=",~f")


def as_label(text: str) -> str:
    """Escape a text of the data, so that Plotly shows it unchanged: tags, entities and $…$ are markup to Plotly.

    Invisible characters and those that change the reading direction show as U+FFFD, an empty text as a pair of quotes.
    """
    shown = text if len(text) <= _LABEL_CHARACTERS else f"{text[: _LABEL_CHARACTERS - 1]}…"
    shown = _INVISIBLE.sub("\ufffd", shown) if shown.strip(" ") else f"“{shown}”"
    return html.escape(shown, quote=False).replace("$", "&#36;")


def with_note(figure: go.Figure, text: str) -> go.Figure:
    """Write a sentence into the middle of an empty figure."""
    font = {"size": 16}
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    return figure.add_annotation(text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font=font)


def _template() -> go.layout.Template:
    axis = {"gridcolor": _GRID, "linecolor": _GRID, "zerolinecolor": _GRID, "automargin": True}
    return go.layout.Template(
        layout={
            "colorway": PALETTE,
            "font": {"color": TEXT, "size": 13},
            "title": {"x": 0, "xref": "paper", "y": 0.98, "yref": "container", "yanchor": "top"},
            "paper_bgcolor": _CLEAR,
            "plot_bgcolor": _CLEAR,
            "separators": ".,",
            "xaxis": axis,
            "yaxis": {**axis, "tickformat": ",~f"},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"},
            "margin": {"l": 60, "r": 20, "t": 84, "b": 50},
            "height": 380,
        }
    )
