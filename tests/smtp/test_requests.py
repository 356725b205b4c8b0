"""What MAIL may ask about a message's way and time: the grammar, and who may ask."""

import pytest

from valija.smtp import answers, commands
from valija.smtp.commands import BASIC_OFFER, MailOffer, Refused
from valija.smtp.requests import PARAMETERS, By, Requests

ALL = MailOffer(BASIC_OFFER.parameters | PARAMETERS, binary=True)


def asked(parameters: str) -> Requests | None:
    return commands.mail(f"FROM:<alice@local.example> {parameters}", extended=True, offer=ALL).requests


@pytest.mark.parametrize(
    ("parameters", "requests"),
    [
        ("SIZE=5 RET=HDRS", None),
        ("REQUIRETLS", Requests(require_tls=True)),
        ("holdfor=1", Requests(hold_for=1)),
        ("HOLDFOR=999999999", Requests(hold_for=999_999_999)),
        ("HOLDUNTIL=2001-09-09T01:46:40Z", Requests(hold_until=1e9)),
        ("HOLDUNTIL=2001-09-09t03:46:40+02:00", Requests(hold_until=1e9)),
        ("HOLDUNTIL=2001-09-09T01:46:40.5z", Requests(hold_until=1e9 + 0.5)),
        ("BY=120;R", Requests(by=By(120, True, False))),
        ("BY=+120;r", Requests(by=By(120, True, False))),
        ("by=0;N", Requests(by=By(0, False, False))),
        ("BY=-999999999;NT", Requests(by=By(-999_999_999, False, True))),
        ("MT-PRIORITY=0", Requests()),
        ("MT-PRIORITY=9", Requests(priority=9)),
        ("MT-PRIORITY=-9", Requests(priority=-9)),
        (
            "REQUIRETLS HOLDFOR=60 BY=120;RT MT-PRIORITY=3 SIZE=9",
            Requests(require_tls=True, hold_for=60, by=By(120, True, True), priority=3),
        ),
    ],
)
def test_what_is_asked(parameters: str, requests: Requests | None) -> None:
    assert asked(parameters) == requests


@pytest.mark.parametrize(
    "parameters",
    [
        "REQUIRETLS=yes",
        "REQUIRETLS REQUIRETLS",
        *("HOLDFOR", "HOLDFOR=0", "HOLDFOR=-5", "HOLDFOR=+5", "HOLDFOR=1.5", "HOLDFOR=1000000000", "HOLDFOR=01"),
        "HOLDFOR=٣",
        *("HOLDUNTIL", "HOLDUNTIL=5", "HOLDUNTIL=2001-09-09T01:46:40", "HOLDUNTIL=2001-09-09", "HOLDUNTIL=now"),
        *("HOLDUNTIL=2001-13-09T01:46:40Z", "HOLDUNTIL=2001-09-09T24:46:40Z", "HOLDUNTIL=2001-W01-1T01:46:40Z"),
        "HOLDFOR=5 HOLDUNTIL=2001-09-09T01:46:40Z",
        "HOLDFOR=5 HOLDFOR=5",
        *("BY", "BY=5", "BY=5;", "BY=;R", "BY=5;X", "BY=5;RR", "BY=5;TR", "BY=1000000000;N", "BY=--5;N", "BY=5;R;T"),
        *("BY=0;R", "BY=-1;R", "BY=-1;RT"),  # RFC 2852 section 4
        *("MT-PRIORITY", "MT-PRIORITY=10", "MT-PRIORITY=+3", "MT-PRIORITY=-0", "MT-PRIORITY=high", "MT-PRIORITY=03"),
        "MT-PRIORITY=1 MT-PRIORITY=2",
    ],
)
def test_bad_values(parameters: str) -> None:
    with pytest.raises(Refused) as caught:
        asked(parameters)
    assert caught.value.reply is answers.BAD_PARAMETER


@pytest.mark.parametrize("parameter", ["REQUIRETLS", "HOLDFOR=5", "HOLDUNTIL=x", "BY=5;R", "MT-PRIORITY=x"])
def test_c018_what_was_not_announced_is_not_known(parameter: str) -> None:
    for offer, extended in ((BASIC_OFFER, True), (ALL, False)):
        with pytest.raises(Refused) as caught:
            commands.mail(f"FROM:<> {parameter}", extended=extended, offer=offer)
        assert caught.value.reply is answers.UNKNOWN_PARAMETER


def test_binary_only_where_it_was_announced() -> None:
    assert commands.mail("FROM:<> BODY=binarymime", extended=True, offer=ALL).body == "BINARYMIME"
    with pytest.raises(Refused) as caught:
        commands.mail("FROM:<> BODY=BINARYMIME", extended=True)
    assert caught.value.reply is answers.BAD_PARAMETER
