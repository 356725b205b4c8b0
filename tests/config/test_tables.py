"""What sound settings come to, and what is worth a warning."""

from pathlib import Path

import msgspec
import pytest

from tests.config.facts import FACTS
from valija.config import Config, ConfigError, parse
from valija.mail.endpoint import Endpoint
from valija.policy.next_hop import NextHop


def config(text: str) -> Config:
    return parse(text, "valija.toml", Path("/etc/valija"), FACTS)


def warned(text: str) -> list[str]:
    return [str(warning) for warning in config(text).warnings]


def test_an_empty_file_is_a_working_closed_server() -> None:
    empty = config("")
    assert (empty.hostname, empty.domains, empty.workers) == ("host.example.org", ("host.example.org",), 4)
    assert (empty.user, empty.data_dir, empty.message_size_limit) == ("valija", Path("/var/lib/valija"), 52_428_800)
    assert empty.smtpd.listen == (Endpoint("0.0.0.0", 25), Endpoint("::", 25))
    assert empty.submission.listen == (Endpoint("0.0.0.0", 587), Endpoint("::", 587))
    assert empty.submissions.listen == (Endpoint("0.0.0.0", 465), Endpoint("::", 465))
    assert empty.networks.find("127.0.0.1")
    assert empty.networks.find("::1")
    assert not empty.networks.find("192.0.2.7")
    assert not empty.networks.find("172.17.0.1")
    assert empty.relayhost is None
    assert empty.web.listen == ()
    assert empty.warnings == ()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("0s", 0), ("0.5s", 0.5), ("30s", 30), ("5m", 300), ("4h", 14_400), ("5d", 432_000), ("1.5h", 5_400)],
)
def test_durations_are_seconds(written: str, seconds: float) -> None:
    assert config(f'[queue]\ndelay_warning_time = "{written}"').queue.delay_warning == seconds


def test_a_listener_can_be_turned_off() -> None:
    off = config("[smtpd]\nlisten = []\n[submission]\nlisten = []\n[submissions]\nlisten = []")
    assert off.endpoints == ()


def test_ipv4_and_ipv6_of_one_port_coexist() -> None:
    both = config('[smtpd]\nlisten = ["0.0.0.0:2525", "[::]:2525"]\n[submission]\nlisten = ["127.0.0.1:2587"]')
    assert both.endpoints[:3] == (Endpoint("0.0.0.0", 2525), Endpoint("::", 2525), Endpoint("127.0.0.1", 2587))


def test_names_are_a_labels() -> None:
    names = config('hostname = "Mail.BÜCHER.example."\ndomains = ["bücher.example", "EXAMPLE.org."]')
    assert names.hostname == "mail.xn--bcher-kva.example"
    assert names.domains == ("xn--bcher-kva.example", "example.org")


def test_a_relayhost_is_taken_at_its_word() -> None:
    relay = config('[smtp]\nrelayhost = "[127.0.0.1]:1025"\nport = 2526').relayhost
    assert relay == NextHop("127.0.0.1", 1025)


def test_no_file_faults_in_one_table_hide_those_of_another() -> None:
    with pytest.raises(ConfigError) as refused:
        config('workers = -1\n[smtp]\nport = 0\n[tls]\ncertificate = "files"\n[nope]\n')
    places = [str(fault.setting) for fault in refused.value.faults]
    assert places == ["workers", "[smtp] port", "[tls] cert_file", "[tls] key_file", "[nope]"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('hostname = "mailserver"', "without a dot"),
        ('user = "root"', "no privileges are dropped"),
        ('mynetworks = ["10.1.0.0/16"]', "everyone in this private range may relay"),
        ('mynetworks = ["192.0.2.0/28"]', "192.0.2.1"),
        ('[tls]\ncert_file = "/c.pem"', "are not used"),
        ("[submission]\nrecipient_limit = 10", "100 recipients"),
    ],
)
def test_what_works_but_may_surprise_is_a_warning(text: str, words: str) -> None:
    lines = warned(text)
    assert any(words in line for line in lines)
    assert all(line.startswith("valija.toml: ") for line in lines)


def test_a_localhost_that_is_written_out_is_no_surprise() -> None:
    assert warned('hostname = "localhost"') == []


def test_a_machine_that_knows_no_name_for_itself_is_one() -> None:
    nameless = msgspec.structs.replace(FACTS, hostname=lambda: "localhost")
    (warning,) = parse("", "valija.toml", Path("/"), nameless).warnings
    assert str(warning.setting) == "hostname"
    assert "without a dot" in warning.reason


def test_a_table_may_be_written_inline_or_dotted() -> None:
    assert config('smtp.port = 2526\nlog = { level = "debug" }').smtp.port == 2526


@pytest.mark.parametrize("path", ["inet:192.0.2.1:12345", "inet:[2001:db8::1]:12345", "inet:dovecot.internal:12345"])
def test_passwords_that_leave_the_machine_in_clear_are_warned_about(path: str) -> None:
    (warning,) = warned(f'hostname = "mail.example.org"\n[sasl]\ntype = "dovecot"\npath = "{path}"\n')
    assert path in warning
    assert "in clear" in warning


@pytest.mark.parametrize("path", ["inet:127.0.0.1:12345", "inet:[::1]:12345", "inet:localhost:12345", "/run/auth"])
def test_passwords_that_stay_on_the_machine_are_not(path: str) -> None:
    assert warned(f'hostname = "mail.example.org"\n[sasl]\ntype = "dovecot"\npath = "{path}"\n') == []
