"""docs/performance.md: the results are put between two marks of it, the rest is written by hand.

The runs themselves are kept beside it as JSON, so that a later call may measure some of the works anew.
"""

from pathlib import Path
from typing import Final

from bench import PROJECT
from bench.plot import as_svg
from bench.results import Results, load, merged, save
from bench.summary import summarise
from bench.table import as_markdown

DOCS: Final = PROJECT / "docs"
BEGIN: Final = "<!-- results: written by bench/run --write -->"
END: Final = "<!-- end of results -->"
_PICTURE: Final = "![Bars: valija and its peers](performance.svg)"


def write(new: Results, docs: Path = DOCS) -> None:
    """Put results into the page, with its picture and its JSON."""
    results = merged(load(docs / "performance.json"), new)
    save(docs / "performance.json", results)
    rows = summarise(run for each in results for run in each.runs)
    (docs / "performance.svg").write_text(as_svg(rows))
    page = docs / "performance.md"
    page.write_text(filled(page.read_text(), f"{_PICTURE}\n\n{as_markdown(results)}"))


def filled(page: str, text: str) -> str:
    """Return a page with `text` between its marks. Raises ValueError for a page that has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks its marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"
