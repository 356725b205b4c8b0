"""Reading the keywords of EHLO that are not believed: `discard_ehlo_keywords = ["CHUNKING"]`."""

import difflib

from valija.config.faults import refuse
from valija.config.readers import each, text
from valija.smtp.client_capabilities import KEYWORDS


def ehlo_keywords(value: object) -> frozenset[str]:
    """Read a list of keywords, in any case."""
    return frozenset(each(_keyword)(value))


def _keyword(value: object) -> str:
    keyword = text(value).upper()
    if keyword not in KEYWORDS:
        nearest = difflib.get_close_matches(keyword, KEYWORDS, n=1)
        remedy = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(sorted(KEYWORDS))}"
        raise refuse(value, "it is no keyword that matters when mail is sent", remedy)
    return keyword
