"""valija: a mail server for sending."""

__version__ = "0.1.0"
