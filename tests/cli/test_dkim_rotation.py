"""valija dkim rotate, check, activate, retire and remove, with real name servers to ask."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cli.here import Here
from tests.fakedns import Script
from tests.name_servers import NameServers, txt
from valija.admin import signed_mail
from valija.content.dkim import sign
from valija.content.dkim_canonical import body_hash
from valija.content.dkim_published import zone_strings
from valija.dkim_keys import DkimKeys
from valija.dns import authorities
from valija.logs import LogBuffer, build_log
from valija.mail.content import Content
from valija.mail.envelope import Envelope, Recipient
from valija.mail.origin import Origin
from valija.policy.dkim_stages import MARGIN, seen_queued
from valija.queue.sqlite import SqliteStore
from valija.queue.store import NewMessage

HEADER = b"From: Alice <alice@example.org>\r\nSubject: hi\r\n"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServers]:
    with NameServers("example.org") as servers:
        asking = partial(authorities.Authorities, patience=1.0, port=servers.port)
        monkeypatch.setattr(authorities, "Authorities", asking)
        yield servers


@pytest.fixture
def here(tmp_path: Path, world: NameServers) -> Here:
    return Here(tmp_path, more=f'[dns]\nnameservers = ["{world.resolver.nameserver}"]\n')


def signing(here: Here, domain: str = "example.org") -> list[str]:
    return [key.selector for key in DkimKeys(here.data_dir / "dkim").for_domain(domain)]


def publish(world: NameServers, key: dict[str, str]) -> None:
    world.publish(key["name"], [txt(*zone_strings(key["value"]))])


def stages(here: Here) -> dict[str, tuple[str, str]]:
    return {key["selector"]: (key["stage"], key["record"]) for key in here.json("dkim", "list")}


def test_a_key_is_rotated(here: Here, world: NameServers) -> None:
    publish(world, here.json("dkim", "create", "example.org", "--selector", "old", "--kind", "ed25519"))
    (new,) = here.json("dkim", "rotate", "example.org")
    assert (new["stage"], new["kind"]) == ("waiting", "ed25519")
    assert here.json("dkim", "rotate") == [new]  # it waits already
    assert signing(here) == ["old"]
    refused = here.run("dkim", "activate")
    assert refused.exit_code == 1
    assert f"{new['name']} is not published everywhere: {new['selector']} does not sign yet" in refused.stderr
    assert "ns1.example.org, ns2.example.org: there is no TXT record" in refused.stderr
    assert signing(here) == ["old"]

    world.first.publish(new["name"], [txt(new["value"])])
    assert here.run("dkim", "activate").exit_code == 1
    assert signing(here) == ["old"]
    publish(world, new)
    assert here.json("dkim", "activate") == [{"domain": "example.org", "selector": new["selector"], "kind": "ed25519"}]
    assert signing(here) == [new["selector"]]
    assert stages(here) == {"old": ("retired", "keep"), new["selector"]: ("signing", "publish")}


def test_what_is_to_be_published_is_told_for_zone_files_and_for_forms(here: Here) -> None:
    told = here.run("dkim", "create", "example.org", "--selector", "s1").stdout
    value = here.json("dkim", "list")[0]["value"]
    assert "".join(re.findall(r'^  "([^"]*)"$', told, re.MULTILINE)) == value
    assert f"  name:  s1._domainkey\n  value: {value}\n" in told
    rotated = here.run("dkim", "rotate").stdout
    assert "leave the old one where it is" in rotated
    assert "  name:  " in rotated


def test_keys_of_both_kinds_are_made_together(here: Here) -> None:
    made = here.json("dkim", "create", "example.org", "--kind", "both")
    assert [key["kind"] for key in made] == ["rsa", "ed25519"]
    assert signing(here) == [key["selector"] for key in made]
    assert [key["kind"] for key in here.json("dkim", "rotate")] == ["rsa", "ed25519"]


def test_a_second_key_of_a_kind_waits(here: Here) -> None:
    here.json("dkim", "create", "example.org", "--selector", "a", "--kind", "ed25519")
    second = here.run("dkim", "create", "example.org", "--selector", "b", "--kind", "ed25519")
    assert "the key signs once valija dkim activate example.org has found it everywhere" in second.stdout
    assert signing(here) == ["a"]


def test_check_says_in_words_what_is_wrong(here: Here, world: NameServers) -> None:
    key = here.json("dkim", "create", "example.org", "--selector", "s1")
    checked = here.run("dkim", "check")
    assert checked.exit_code == 1
    assert "s1._domainkey.example.org (rsa, signing) is NOT published everywhere" in checked.stdout
    world.first.publish(key["name"], [txt(key["value"][:255])])
    world.second.script(key["name"], Script(silent=True))
    lines = here.run("dkim", "check", "example.org").stdout
    assert f"ns1.example.org: it is cut off after 255 of {len(key['value'])} characters; split the value" in lines
    assert "ns2.example.org: it does not answer (127.0.0.3: no answer in 1 s)" in lines
    world.second.script(key["name"], Script())
    publish(world, key)
    checked = here.run("dkim", "check")
    assert (checked.exit_code, checked.stderr) == (0, "")
    (found,) = here.json("dkim", "check")
    assert found["published"]
    assert [server["server"] for server in found["servers"]] == ["ns1.example.org", "ns2.example.org"]


def test_check_as_a_program_says_no(here: Here) -> None:
    here.json("dkim", "create", "example.org", "--selector", "s1", "--kind", "ed25519")
    told = here.program("dkim", "check")  # nobody listens on the name servers' port 53
    assert told.returncode == 1
    assert "it does not answer" in told.stdout
    assert told.stderr == "valija: not published everywhere: s1._domainkey.example.org\n"


def test_check_without_keys_or_dns(here: Here, world: NameServers) -> None:
    assert "there are no keys: valija dkim create" in here.refused("dkim", "check")
    here.json("dkim", "create", "example.org", "--selector", "s1", "--kind", "ed25519")
    world.resolver.default = Script(rcode="SERVFAIL")
    checked = here.run("dkim", "check")
    assert checked.exit_code == 1
    assert "cannot be looked up" in checked.stdout


def test_where_the_dns_is_not_to_be_asked_a_human_may_insist(here: Here) -> None:
    here.json("dkim", "create", "example.org", "--selector", "old", "--kind", "ed25519")
    (new,) = here.json("dkim", "rotate")
    here.json("dkim", "activate", "example.org", "--selector", new["selector"], "--anyway")
    assert signing(here) == [new["selector"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("activate",), "no key waits: valija dkim rotate makes one"),
        (("activate", "--selector", "nope"), "there is no key nope"),
        (("activate", "--selector", "a"), "the key a signs already"),
        (("retire", "example.org", "--selector", "nope"), "there is no key nope"),
        (("retire", "example.org", "--selector", "a"), "the only one that signs: activate another one first"),
        (("remove", "example.org", "--selector", "nope"), "there is no key nope"),
        (("remove", "example.org", "--selector", "a"), "the key a is signing: valija dkim retire comes first"),
        (("rotate", "example.net"), "no key to be followed"),
        (("check", "../x"), "is no domain"),
    ],
)
def test_what_is_refused(here: Here, arguments: tuple[str, ...], words: str) -> None:
    here.json("dkim", "create", "example.org", "--selector", "a", "--kind", "ed25519")
    assert words in here.refused("dkim", *arguments)
    assert signing(here) == ["a"]


def test_a_key_can_be_retired_at_once(here: Here) -> None:
    here.json("dkim", "create", "example.org", "--kind", "both")
    rsa, ed25519 = signing(here)
    told = here.json("dkim", "retire", "example.org", "--selector", rsa)
    assert told == {"domain": "example.org", "retired": rsa, "signing": [ed25519]}
    last = here.run("dkim", "retire", "example.org", "--selector", ed25519, "--anyway")
    assert last.stdout == "mail of example.org is not signed\n"
    assert signing(here) == []


# The end of a key


def queue_message(here: Here, *headers: bytes) -> Callable[[], None]:
    """Queue a message for each header; return what removes them all."""
    folder = here.data_dir / "queue"

    async def put() -> None:
        with open("/dev/null", "wb") as silence:
            log = build_log("error", "text", LogBuffer(silence.fileno()))
            store = SqliteStore.open(folder, 0, clock=time.time, log=log, next_hop=lambda envelope, address: address)
            for header in headers:
                envelope = Envelope("alice@example.org", (Recipient("x@remote.example"),))
                message = NewMessage(envelope, Content.of(header + b"\r\nhello\r\n"), Origin("submission", time.time()))
                await store.put(store.new_id(), message, claim=False)
            await store.close()

    asyncio.run(put())
    return lambda: here.json("queue", "delete", "--all")


def test_a_record_is_needed_until_the_last_message_signed_by_it_has_left(
    here: Here, world: NameServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(world, here.json("dkim", "create", "example.org", "--selector", "old", "--kind", "ed25519"))
    keys = DkimKeys(here.data_dir / "dkim")
    (old,) = keys.for_domain("example.org")
    empty_queue = queue_message(here, HEADER, sign(HEADER, body_hash(b"hello\r\n"), [old], time.time()) + HEADER)
    (new,) = here.json("dkim", "rotate")
    publish(world, new)
    here.json("dkim", "activate")
    retired = keys.stages("example.org")["old"]

    later = retired.since + MARGIN + 3600
    signed_mail.note_queued(keys, here.data_dir / "queue", later)
    assert keys.stages("example.org")["old"].queued == later
    empty_queue()
    signed_mail.note_queued(keys, here.data_dir / "queue", later + 60)
    assert keys.stages("example.org")["old"].queued == later

    assert stages(here)["old"] == ("retired", "keep")
    assert "others still ask for its record" in here.refused("dkim", "remove", "example.org", "--selector", "old")
    monkeypatch.setattr(time, "time", lambda: later + MARGIN)
    assert stages(here)["old"] == ("retired", "remove")
    assert "take its record away, then valija dkim remove" in here.run("dkim", "list").stdout
    here.json("dkim", "remove", "example.org", "--selector", "old")
    assert [key["selector"] for key in here.json("dkim", "list")] == [new["selector"]]


def test_mail_that_others_signed_keeps_no_record(here: Here) -> None:
    here.json("dkim", "create", "example.org", "--selector", "old", "--kind", "ed25519")
    here.json("dkim", "create", "example.net", "--selector", "old", "--kind", "ed25519")
    keys = DkimKeys(here.data_dir / "dkim")
    (other,) = keys.for_domain("example.net")
    queue_message(here, HEADER, sign(HEADER, body_hash(b"hello\r\n"), [other], time.time()) + HEADER)
    here.json("dkim", "retire", "example.org", "--selector", "old", "--anyway")
    here.json("dkim", "list")
    assert keys.stages("example.org")["old"].queued == 0.0


def test_a_queue_that_cannot_be_read_keeps_the_record(here: Here) -> None:
    here.json("dkim", "create", "example.org", "--selector", "old", "--kind", "ed25519")
    here.json("dkim", "retire", "example.org", "--selector", "old", "--anyway")
    queue_message(here, HEADER)
    (here.data_dir / "queue" / "worker-0.sqlite3").write_bytes(b"this is no database" * 100)
    keys = DkimKeys(here.data_dir / "dkim")
    signed_mail.note_queued(keys, here.data_dir / "queue", 5e9)
    assert keys.stages("example.org")["old"].queued == 5e9
    keys.change("example.org", partial(seen_queued, selector="old", now=0.0))
