"""The report's HTML: the truth at the top, and data that stays data."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from workbench.notebook.report import render_report
from workbench.notebook.report_outputs import BUDGET_BYTES, PLOTLY_MIME, data_block, sanitised, text_html

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def executed(*outputs: object, status: str = "completed", **record: object):
    """Return a notebook of one code cell with these outputs, as execution leaves it behind."""
    cell = new_code_cell("f(x)", outputs=list(outputs))
    cell.metadata["workbench"] = {"status": status, "seconds": 1.5}
    notebook = new_notebook(cells=[new_markdown_cell("# 2 Ingest\n\nWhat it does."), cell])
    notebook.metadata["workbench"] = {"status": status, "seconds": 61.2, "parameters": {}, "error": None, **record}
    return notebook


def shown(**data: object):
    return new_output("display_data", data={key.replace("__", "/"): value for key, value in data.items()})


def rendered(notebook: object, tmp_path: Path) -> str:
    return render_report(notebook, tmp_path / "report.html").read_text()


def test_a_failure_stands_at_the_top_with_a_link_to_its_cell(tmp_path):
    error = {
        "status": "killed",
        "number": 2,
        "source": "f(x)",
        "exception": "KernelDied",
        "value": "the kernel ended by SIGKILL",
        "traceback": "Fatal Python error",
        "kernel": {"signal": "SIGKILL", "code": None, "peak_bytes": 2**30},
    }
    html = rendered(executed(status="killed", error=error), tmp_path)
    top = html[: html.index("<main>")]
    assert "Kernel died in cell 2" in top
    assert "KernelDied: the kernel ended by SIGKILL" in top
    assert '<a href="#cell-2">' in top
    assert '<section class="cell bad" id="cell-2">' in html


def test_run_parameters_and_seconds_stand_at_the_top(tmp_path):
    html = rendered(executed(parameters={"pipeline_id": "20261123t083012_a1b2c3", "name": ATTACK}), tmp_path)
    assert "<dd>20261123t083012_a1b2c3</dd>" in html
    assert "<dd>1 min 01 s</dd>" in html
    assert "<h1>2 Ingest</h1>" in html
    assert ATTACK not in html


@pytest.mark.promise("S11", "data show as text in reports and figures")
@pytest.mark.parametrize(
    "output",
    [
        new_output("stream", name="stdout", text=ATTACK),
        new_output("error", ename="E", evalue=ATTACK, traceback=[ATTACK]),
        shown(text__plain=ATTACK),
        shown(text__html=ATTACK),
        shown(text__markdown=ATTACK),
        shown(application__javascript="alert(1)"),
        shown(**{"image/svg+xml": f"<svg onload='alert(1)'>{ATTACK}</svg>"}),
        shown(**{"image/png": f"'>{ATTACK}"}),
        shown(**{PLOTLY_MIME: {"data": [{"name": ATTACK}], "layout": {"title": {"text": ATTACK}}}}),
        shown(**{"application/vnd.jupyter.widget-view+json": {"model_id": ATTACK}}),
    ],
    ids=["stdout", "error", "plain", "html", "markdown", "javascript", "svg", "png", "plotly", "widget"],
)
def test_an_attack_in_an_output_does_not_become_active(output, tmp_path):
    html = rendered(executed(output), tmp_path)
    ours = ("<script>", '<script type="text/plain" id="library">', '<script type="application/json" id="figure-1">')
    assert set(re.findall(r"<script[^>]*>", html)) <= set(ours)
    assert "<script>alert" not in html
    assert not re.search(r"<[^>]*\son(error|load)\s*=", html)


@pytest.mark.promise("S11", "data show as text in reports and figures")
@pytest.mark.parametrize(
    "fragment",
    [
        '<a href="javascript:alert(1)">x</a>',
        '<a href=" java\nscript:alert(1)">x</a>',
        '<a href="data:text/html,<script>alert(1)</script>">x</a>',
        '<a href="//example.com/x">x</a><a href="03_process.ipynb">x</a><a href="/etc/passwd">x</a>',
        '<img src="http://example.com/x.png">',
        '<img src="data:image/svg+xml;base64,PHN2Zz4=">',
        '<form action="http://example.com"><input name="a"></form>',
        '<iframe src="http://example.com"></iframe>',
        "<style>body { display: none }</style>",
        '<p style="position: fixed" id="cell-2" class="badge good" onclick="alert(1)">x</p>',
        '<base href="http://example.com"><meta http-equiv="refresh" content="0;url=http://example.com">',
        '<svg><a xlink:href="javascript:alert(1)"><text>x</text></a></svg>',
        "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
    ],
)
def test_sanitised_html_loads_runs_and_imitates_nothing(fragment):
    html = sanitised(fragment)
    for left in (
        "javascript",
        "data:",
        "example.com",
        "href",
        "<form",
        "<iframe",
        "style",
        "id=",
        "class=",
        "onclick",
        "<svg",
        "onerror",
    ):
        assert left not in html, left


def test_tables_links_and_own_pictures_are_kept():
    picture = f"data:image/png;base64,{base64.b64encode(b'png').decode()}"
    html = sanitised(f'<table><tr><th>a</th></tr></table><a href="https://example.com">x</a><img src="{picture}">')
    assert "<table>" in html
    assert 'rel="noopener noreferrer nofollow"' in html
    assert picture in html


def test_markdown_is_rendered_without_what_does_not_belong_there():
    html = text_html("## Head\n\n| a |\n|---|\n| 1 |\n\n[x](javascript:alert(1))")
    assert "<h2>Head</h2>" in html
    assert "<table>" in html
    assert "javascript" not in html


@pytest.mark.promise("S11", "data show as text in reports and figures")
def test_data_cannot_end_the_block_it_stands_in():
    block = data_block({"a": "</script><!--<script>\u2028&"})
    assert not set("<>&\u2028") & set(block)


def test_a_report_without_figures_has_no_script_at_all(tmp_path):
    html = rendered(executed(shown(text__plain="4")), tmp_path)
    assert "<script" not in html
    assert "script-src &#39;none&#39;" in html


def test_a_report_stays_small_and_says_what_it_left_out(tmp_path):
    output = new_output("stream", name="stdout", text="x" * 1_000_000)
    figure = shown(**{PLOTLY_MIME: {"data": [], "layout": {}}})
    html = rendered(executed(figure, *[output] * 4), tmp_path)
    assert len(html) < 5_000_000
    assert html.count("Left out of the report") == 4 - BUDGET_BYTES // 1_000_000


def test_the_same_notebook_makes_the_same_report(tmp_path):
    notebook = executed(shown(**{PLOTLY_MIME: {"data": [], "layout": {}}}))
    assert rendered(notebook, tmp_path) == rendered(notebook, tmp_path)
