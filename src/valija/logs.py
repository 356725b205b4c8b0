"""The log: structured lines on standard error, readable or JSON, with nothing in them that a peer could misuse."""

from structlog.typing import FilteringBoundLogger

Log = FilteringBoundLogger
