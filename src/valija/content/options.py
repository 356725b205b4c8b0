"""In which language reports are written."""

from typing import Literal

import msgspec

Languages = Literal["en", "es", "both"]


class ReportOptions(msgspec.Struct, frozen=True):
    """`language` is that of all reports, `auto` that of each message; `fallback` where a message does not tell its own.

    See content/report_language.
    """

    language: Literal["auto", "en", "es", "both"] = "auto"
    fallback: Languages = "both"
