"""In which language senders are told what became of their messages: settings of [queue]."""

from valija.config.document import Table
from valija.config.readers import choice
from valija.content.options import ReportOptions


def read_reports(table: Table) -> ReportOptions:
    """Return the languages that stand in `table`."""
    default = ReportOptions()
    return ReportOptions(
        language=table.read("report_language", choice("auto", "en", "es", "both"), default.language),
        fallback=table.read("report_fallback_language", choice("both", "en", "es"), default.fallback),
    )
