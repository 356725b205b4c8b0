"""The results as a picture: an SVG of bars, a panel for each case of each work that has a figure to plot.

    path.write_text(as_svg(rows))

It is readable on light and on dark ground: nothing is painted behind, and colours follow the reader's scheme. A thin
line over a bar spans minimum and maximum of the rounds.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import msgspec

from bench.results import FIGURES, Figure
from bench.summary import Row
from bench.works import WORKS

_COLUMNS: Final = 2
_PANEL_WIDTH: Final = 440
_GAP: Final = 32
_BAR: Final = 14
_PITCH: Final = 22
_NAMES: Final = 112  # the width that names of servers take
_VALUES: Final = 78  # and their values
_TITLE: Final = 46  # the height of a panel's title

_STYLE: Final = """
  text { font: 12px system-ui, sans-serif; fill: #59636e; }
  .title { font-weight: 600; font-size: 13px; fill: #1f2328; }
  .ours text { font-weight: 600; fill: #1f2328; }
  .bar { fill: #afb8c1; }
  .ours .bar { fill: #0969da; }
  .spread { stroke: #59636e; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1; }
    .title, .ours text { fill: #f0f6fc; }
    .bar { fill: #484f58; }
    .ours .bar { fill: #4493f8; }
    .spread { stroke: #9198a1; }
  }"""


class Panel(msgspec.Struct, frozen=True):
    """One chart: its title, its figure, and the rows it compares, best first."""

    title: str
    figure: str
    rows: Sequence[Row]

    @property
    def height(self) -> int:
        """The height it takes, in pixels."""
        return _TITLE + _PITCH * len(self.rows)


def as_svg(rows: Sequence[Row]) -> str:
    """Return the whole picture."""
    panels = _panels(rows)
    parts: list[str] = []
    top = 0
    for start in range(0, len(panels), _COLUMNS):
        line = panels[start : start + _COLUMNS]
        for column, panel in enumerate(line):
            parts.append(f'<g transform="translate({column * (_PANEL_WIDTH + _GAP)} {top})">')
            parts += _draw(panel)
            parts.append("</g>")
        top += max(panel.height for panel in line) + _GAP
    width = _COLUMNS * _PANEL_WIDTH + (_COLUMNS - 1) * _GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -4 {width + 16} {top}" width="{width}" role="img">'
    return "\n".join(
        [head, "<title>valija and its peers, measured</title>", f"<style>{_STYLE}\n</style>", *parts, "</svg>\n"]
    )


def _panels(rows: Sequence[Row]) -> list[Panel]:
    cases = dict.fromkeys((row.work, row.case) for row in rows if WORKS[row.work].plotted)
    panels = (_panel(work, case, rows) for work, case in cases)
    return [panel for panel in panels if panel.rows]


def _panel(work: str, case: str, rows: Iterable[Row]) -> Panel:
    name = WORKS[work].plotted
    figure = FIGURES[name]
    measured = [
        row for row in rows if (row.work, row.case) == (work, case) and name in row.figures and row.server[0] != "("
    ]
    measured.sort(key=lambda row: row.figures[name].median, reverse=figure.better == "more")
    return Panel(f"{WORKS[work].title}: {case}", name, measured)


def _draw(panel: Panel) -> list[str]:
    figure = FIGURES[panel.figure]
    most = max(row.figures[panel.figure].most for row in panel.rows) or 1.0
    scale = (_PANEL_WIDTH - _NAMES - _VALUES) / most
    direction = {"more": ", more is better", "less": ", less is better", "": ""}[figure.better]
    parts = [
        f'<text class="title" y="14">{escape(panel.title)}</text>',
        f'<text y="31">{escape(figure.title)}, {escape(figure.unit)}{direction}</text>',
    ]
    for place, row in enumerate(panel.rows):
        parts += _bar(row, panel.figure, figure, scale, _TITLE + place * _PITCH)
    return parts


def _bar(row: Row, name: str, figure: Figure, scale: float, top: int) -> list[str]:
    spread = row.figures[name]
    length, least, most = (max(value, 0.0) * scale for value in (spread.median, spread.least, spread.most))
    middle = top + _BAR / 2
    line = (
        f'<line class="spread" x1="{_NAMES + least:.1f}" x2="{_NAMES + most:.1f}" y1="{middle}" y2="{middle}"/>'
        if most - least > 1
        else ""
    )
    return [
        '<g class="ours">' if row.server == "valija" else "<g>",
        f'<text x="{_NAMES - 8}" y="{top + 11}" text-anchor="end">{escape(row.server)}</text>',
        f'<rect class="bar" x="{_NAMES}" y="{top}" width="{max(length, 1):.1f}" height="{_BAR}" rx="2"/>',
        line,
        f'<text x="{_NAMES + max(length, most) + 6:.1f}" y="{top + 11}">{figure.show(spread.median)}</text>',
        "</g>",
    ]
