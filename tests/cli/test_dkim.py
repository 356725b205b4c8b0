"""valija dkim."""

import base64
import re

import pytest

from tests.cli.here import Here
from valija.dkim_keys import DkimKeys


def test_a_key_is_made_and_its_record_told(here: Here) -> None:
    made = here.json("dkim", "create", "EXAMPLE.org", "--selector", "s1")
    assert (made["domain"], made["selector"], made["kind"]) == ("example.org", "s1", "rsa")
    assert made["name"] == "s1._domainkey.example.org"
    assert made["value"].startswith("v=DKIM1; k=rsa; p=")
    assert here.json("dkim", "list") == [made]
    assert here.json("dkim", "list", "example.org") == [made]
    assert here.json("dkim", "list", "example.net") == []
    (key,) = DkimKeys(here.data_dir / "dkim").for_domain("example.org")
    assert key.selector == "s1"


def test_the_zone_lines_hold_the_whole_record(here: Here) -> None:
    value = here.json("dkim", "create", "example.org", "--selector", "s1")["value"]
    text = here.run("dkim", "list").stdout
    pieces = re.findall(r'"([^"]*)"', text)
    assert "".join(pieces) == value
    assert all(len(piece) <= 255 for piece in pieces)
    assert text.startswith("s1._domainkey.example.org. IN TXT (")


def test_the_default_selector_is_the_date(here: Here) -> None:
    made = here.json("dkim", "create", "example.org", "--kind", "ed25519")
    assert re.fullmatch(r"20\d{6}", made["selector"])
    assert len(base64.b64decode(made["value"].partition("p=")[2])) == 32


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "exa mple.org"), "'exa mple.org' is no domain"),
        (("create", "../../etc"), "is no domain"),
        (("create", "example.org", "--selector", "../x"), "is no selector"),
        (("create", "example.org", "--selector", "taken"), "already"),
        (("list", ".."), "is no domain"),
    ],
)
def test_what_is_refused(here: Here, arguments: tuple[str, ...], words: str) -> None:
    here.json("dkim", "create", "example.org", "--selector", "taken", "--kind", "ed25519")
    assert words in here.refused("dkim", *arguments)


def test_a_key_that_others_can_read_is_noted(here: Here) -> None:
    here.json("dkim", "create", "example.org", "--selector", "s1", "--kind", "ed25519")
    (here.data_dir / "dkim" / "example.org" / "s1.pem").chmod(0o644)
    result = here.run("dkim", "list", "--json")
    assert result.stdout == "[]\n"
    assert "chmod 0600" in result.stderr


def test_a_domain_that_is_not_hosted_is_signed_for_those_who_have_an_address_there(here: Here) -> None:
    result = here.run("dkim", "create", "Example.NET", "--kind", "ed25519")
    assert result.exit_code == 0
    assert result.stderr == (
        "valija: example.net is not hosted here: signed is the mail of users who have an address there\n"
    )
    hosted = here.run("dkim", "create", "example.org", "--kind", "ed25519")
    assert "signed from now on" in hosted.stdout
    assert hosted.stderr == ""
