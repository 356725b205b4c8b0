"""What `[smtp]` says about connections, and `[[smtp.pool]]`."""

from pathlib import Path

import msgspec
import pytest

from tests.config.facts import FACTS
from valija.config import Config, parse
from valija.deliver.options import SmtpOptions, SourcePool


def config(text: str) -> Config:
    return parse(text, "valija.toml", Path("/etc/valija"), FACTS)


def test_pools_are_read() -> None:
    read = config(
        """
        [[smtp.pool]]
        name = "bulk"
        addresses = ["192.0.2.7", "2001:DB8:0::7"]
        helo_name = "Bulk.Example.ORG"
        [[smtp.pool]]
        name = "news"
        helo_name = "news.example.org"
        """
    )
    assert read.smtp.pools == (
        SourcePool("bulk", ("192.0.2.7", "2001:db8::7"), "bulk.example.org"),
        SourcePool("news", (), "news.example.org"),
    )
    assert read.warnings == ()


def test_source_addresses_of_mail_of_no_pool() -> None:
    read = config('[smtp]\nbind_addresses = ["192.0.2.7"]\nhelo_name = "out.example.org"')
    assert (read.smtp.bind_addresses, read.smtp.helo_name) == (("192.0.2.7",), "out.example.org")
    assert read.warnings == ()


def test_addresses_that_the_machine_does_not_have_are_warned_about() -> None:
    read = config(
        """
        [smtp]
        bind_addresses = ["192.0.2.7", "192.0.2.99"]
        [[smtp.pool]]
        name = "bulk"
        addresses = ["2001:db8::7", "2001:db8::99"]
        """
    )
    lost = "this machine does not have this address: no mail can leave from it; "
    lost += "give the machine the address, or correct it"
    assert list(map(str, read.warnings)) == [
        f'valija.toml: [smtp] bind_addresses = "192.0.2.99": {lost}',
        f'valija.toml: [[smtp.pool]] #1 addresses = "2001:db8::99": {lost}',
    ]


@pytest.mark.parametrize(
    ("key", "field", "written", "value"),
    [
        ("mx_address_limit", "mx_address_limit", "1", 1),
        ("mx_address_limit", "mx_address_limit", "100", 100),
        ("destination_recipient_limit", "destination_recipient_limit", "1", 1),
        ("connection_cache_time_limit", "connection_cache_time", '"0s"', 0.0),
        ("connection_cache_time_limit", "connection_cache_time", '"10m"', 600.0),
        ("connection_reuse_time_limit", "connection_reuse_time_limit", '"1d"', 86_400.0),
        *[
            (key, key, '"1h"', 3600.0)
            for key in (
                "helo_timeout",
                "mail_timeout",
                "rcpt_timeout",
                "data_init_timeout",
                "data_xfer_timeout",
                "data_done_timeout",
                "rset_timeout",
            )
        ],
    ],
)
def test_limits_can_be_set_and_nothing_else_changes(key: str, field: str, written: str, value: float) -> None:
    default = config("").smtp
    assert default == SmtpOptions()
    assert config(f"[smtp]\n{key} = {written}").smtp == msgspec.structs.replace(default, **{field: value})
