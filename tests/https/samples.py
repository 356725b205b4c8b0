"""A site as a configuration makes it, for the tests of what is served."""

from pathlib import Path

from tests.config.facts import FACTS
from valija.config import Config, parse
from valija.https.site import Site

TEXT = """hostname = "mail.example.org"
domains = ["example.org", "example.net"]
[https]
listen = ["127.0.0.1:443"]
[autoconfig]
imap_host = "imap.example.org"
"""


def config(text: str = TEXT) -> Config:
    return parse(text, "valija.toml", Path("/"), FACTS)


def site(text: str = TEXT) -> Site:
    return config(text).site
