"""The settings of [rspamd]; what is wrong with them is told in golden/config/rspamd*."""

import pytest

from tests.config.test_tables import config
from valija.rspamd.options import RspamdOptions


def test_it_is_off_unless_switched_on_and_lets_nothing_by_when_it_fails() -> None:
    found = config("").rspamd
    assert found == RspamdOptions()
    assert (found.url, found.on_failure, found.users) == ("", "tempfail", False)


def test_what_is_taken_by_default_is_less_than_rspamd_takes() -> None:
    """rspamd hangs up on messages of more than 50 MiB, with the fields that are added here."""
    found = config("")
    assert found.rspamd.max_size < 50 << 20
    assert found.rspamd.max_size < found.message_size_limit


def test_everything_can_be_set() -> None:
    found = config(
        '[rspamd]\nurl = "https://rspamd.example.org/scan/"\npassword_file = "secret"\ntimeout = "3s"\n'
        'max_size = 1000\nusers = true\non_failure = "accept"\non_reject = "hold"\non_greylist = "tempfail"'
    ).rspamd
    assert found.password_file.endswith("/secret")
    assert found.password_file.startswith("/")
    assert found == RspamdOptions(
        url="https://rspamd.example.org/scan/",
        password_file=found.password_file,
        timeout=3.0,
        max_size=1000,
        users=True,
        on_failure="accept",
        on_reject="hold",
        on_greylist="tempfail",
    )


@pytest.mark.parametrize(
    ("url", "is_warned_of"),
    [
        ("http://127.0.0.1:11333", False),
        ("http://[::1]:11333", False),
        ("http://localhost:11333", False),
        ("unix:/run/rspamd/worker.sock", False),
        ("https://192.0.2.1:11333", False),
        ("http://192.0.2.1:11333", True),
        ("http://rspamd:11333", True),
    ],
)
def test_mail_in_clear_on_a_network_is_warned_of(url: str, is_warned_of: bool) -> None:
    warned = [each for each in config(f'[rspamd]\nurl = "{url}"').warnings if "in clear" in each.reason]
    assert bool(warned) == is_warned_of


def test_a_socket_may_lie_beside_the_configuration() -> None:
    found = config('[rspamd]\nurl = "unix:rspamd.sock"').rspamd.url
    assert found.startswith("unix:/")
    assert found.endswith("/rspamd.sock")
