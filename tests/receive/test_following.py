"""Aliases followed when a message is taken: whom it goes to, with which return path, and where a loop ends."""

from collections.abc import Mapping

from valija.mail.envelope import Notify, Recipient
from valija.receive.following import follow, leaves

DOMAINS = {"local.example"}
ALIASES: Mapping[str, tuple[str, ...]] = {
    "sales@local.example": ("alice@local.example", "x@remote.example"),
    "team@local.example": ("x@remote.example", "y@remote.example"),
    "alice@local.example": ("alice@local.example",),
    "copy@local.example": ("copy@local.example", "z@remote.example"),
    "gone@local.example": (),
}


class Directory:
    def expand(self, address: str) -> tuple[str, ...]:
        return ALIASES[address]


def followed(*recipients: Recipient, header: bytes = b"Subject: x\r\n") -> list[Recipient]:
    return list(follow(Directory(), DOMAINS, recipients, header, lambda: "SRS0=1@local.example"))


def test_what_is_no_alias_stays_as_it_is() -> None:
    recipients = (Recipient("alice@local.example", 2), Recipient("bob@else.example"), Recipient("gone@local.example"))
    assert followed(*recipients) == list(recipients)


def test_only_what_leaves_has_a_return_path() -> None:
    asked = Recipient("sales@local.example", int(Notify.FAILURE), "rfc822;s@x.example")
    alice, outside = followed(asked)
    assert alice == Recipient("alice@local.example", asked.notify, asked.orcpt, given="sales@local.example")
    assert outside == Recipient(
        "x@remote.example",
        asked.notify,
        asked.orcpt,
        given="sales@local.example",
        return_path="SRS0=1@local.example",
    )


def test_each_address_gets_it_once() -> None:
    found = followed(
        Recipient("sales@local.example"), Recipient("team@local.example"), Recipient("alice@local.example")
    )
    assert [each.address for each in found] == ["alice@local.example", "x@remote.example", "y@remote.example"]


def test_a_copy_for_the_mailbox_is_the_recipient_itself() -> None:
    own, outside = followed(Recipient("copy@local.example"))
    assert own == Recipient("copy@local.example")
    assert outside.given == "copy@local.example"


def test_a_name_given_before_stays_what_reports_name() -> None:
    [*_, outside] = followed(Recipient("sales@local.example", given="root@local.example"))
    assert outside.given == "root@local.example"


def test_what_comes_back_to_the_alias_goes_no_further() -> None:
    header = b"Received: x\r\nDelivered-To: Sales@local.example\r\nSubject: x\r\n"
    looping = Recipient("sales@local.example")
    assert followed(looping, Recipient("team@local.example"), header=header)[0] == looping
    assert len(followed(looping, Recipient("team@local.example"), header=header)) == 3
    assert len(followed(looping, header=b"Subject: Delivered-To: sales@local.example\r\n")) == 2


def test_the_return_path_is_made_only_where_it_is_needed() -> None:
    def made() -> str:
        raise AssertionError("nothing leaves")

    follow(Directory(), DOMAINS, [Recipient("alice@local.example"), Recipient("x@else.example")], b"", made)


def test_leaves() -> None:
    assert leaves(Directory(), DOMAINS, [Recipient("alice@local.example"), Recipient("sales@local.example")])
    assert not leaves(Directory(), DOMAINS, [Recipient("alice@local.example"), Recipient("bob@else.example")])
