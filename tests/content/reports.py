"""Reports to look at, and what has to hold for every one of them."""

from email import message_from_bytes, policy
from email.message import MIMEPart

from valija.content.bounce import report
from valija.content.header import fields, split
from valija.content.options import ReportOptions
from valija.content.reported import Reported, ReportKind
from valija.mail.envelope import DeliverBy, Envelope, Notify, Recipient, Ret
from valija.mail.outcome import Outcome, State
from valija.mail.reply import Reply

ARRIVED = 1764072000.0
NOW = ARRIVED + 3600
LIFETIME = 432_000.0
ENGLISH = ReportOptions("en")
SPANISH = ReportOptions("es")
BOTH = ReportOptions("both")

HEADER = (
    b"From: Alice <alice@local.example>\r\nTo: x@remote.example\r\nSubject: hi\r\nMessage-ID: <1@local.example>\r\n"
)
CONTENT = HEADER + b"\r\nbody\r\n"
NO_SUCH_USER = Reply(550, "5.1.1", "No such user here")
GREYLISTED = Reply(451, "4.7.1", "Greylisted, try again later")
HOSTILE = (
    "first\ntype: mda\n\n\r\nFinal-Recipient: rfc822; x@evil.example\r\n\r\n\0\x1b[31mred\u202e\x85\udcff" + "y" * 5000
)


def failed(
    address: str = "x@remote.example",
    reply: Reply = NO_SUCH_USER,
    *,
    orcpt: str = "",
    given: str = "",
    remote: str = "mx.remote.example",
    tls_source: str = "",
    expired_after: float = 0.0,
    deadline_passed: bool = False,
) -> Reported:
    recipient = Recipient(address, Notify.FAILURE, orcpt, given)
    outcome = Outcome(0, State.FAILED, reply, remote, "192.0.2.9" if remote else "", tls_source=tls_source)
    return Reported(recipient, outcome, expired_after=expired_after, deadline_passed=deadline_passed)


def expired(reply: Reply, seconds: float = LIFETIME, *, remote: str = "mx.remote.example") -> Reported:
    return failed(reply=reply, expired_after=seconds, remote=remote)


def delayed(reply: Reply = GREYLISTED) -> Reported:
    outcome = Outcome(0, State.DEFERRED, reply, "mx.remote.example", "2001:db8::9")
    return Reported(Recipient("x@remote.example"), outcome, ARRIVED + LIFETIME)


def delivered(remote: str, *, dsn: bool = False) -> Reported:
    outcome = Outcome(0, State.DELIVERED, Reply(250, "2.0.0", "Ok"), remote, dsn_passed_on=dsn)
    return Reported(Recipient("x@remote.example", Notify.SUCCESS), outcome)


def make(
    *reported: Reported,
    kind: ReportKind = ReportKind.FAILURE,
    content: bytes = CONTENT,
    full: bool = True,
    reverse_path: str = "alice@local.example",
    ret: Ret = "",
    envid: str = "",
    require_tls: bool = False,
    deliver_by: DeliverBy | None = None,
    hold_until: float = 0.0,
    options: ReportOptions = ENGLISH,
) -> bytes:
    """Return a sound report."""
    reported = reported or (failed(),)
    envelope = Envelope(
        reverse_path,
        tuple(one.recipient for one in reported),
        ret=ret,
        envid=envid,
        require_tls=require_tls,
        deliver_by=deliver_by,
        hold_until=hold_until,
    )
    octets = report(
        kind,
        envelope,
        content,
        ARRIVED,
        "4F2",
        reported,
        hostname="mail.local.example",
        now=NOW,
        unique="4F2.a1b2c3",
        full_content=content if full else None,
        options=options,
    )
    assert_sound(octets)
    return octets


def assert_sound(octets: bytes) -> None:
    assert octets.count(b"\r\n") == octets.count(b"\n") == octets.count(b"\r")
    assert octets.endswith(b"\r\n")
    header = split(octets).header
    assert [field.name for field in fields(header)].count(b"content-type") == 1
    longest = max(map(len, header.split(b"\r\n")))
    assert longest <= 998


def parts_of(octets: bytes) -> tuple[MIMEPart, MIMEPart, MIMEPart]:
    message = message_from_bytes(octets, policy=policy.default)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    first, second, third = message.iter_parts()
    assert second.get_content_type() in ("message/delivery-status", "message/global-delivery-status")
    return first, second, third


def status_groups(octets: bytes) -> list[dict[str, str]]:
    """Return the groups of fields in the machine part, unfolded."""
    head, raw = octets.split(b"delivery-status\r\n", 1)[1].partition(b"\r\n--=_")[0].split(b"\r\n", 1)
    if head:
        assert head == b"Content-Transfer-Encoding: 8bit"
        raw = raw.removeprefix(b"\r\n")
    assert raw.isascii() or b"message/global-delivery-status" in octets
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    groups = []
    for group in raw.removesuffix(b"\r\n").split(b"\r\n\r\n"):
        found = [(field.name.decode(), field.value.decode()) for field in fields(group.removesuffix(b"\r\n") + b"\r\n")]
        assert len(dict(found)) == len(found), "no field occurs twice"
        groups.append({name: value.replace("\r\n", "").strip() for name, value in found})
    return groups


def human_text(octets: bytes) -> str:
    text = parts_of(octets)[0].get_content()
    assert isinstance(text, str)
    return text.replace("\r\n", "\n")


def human_words(octets: bytes) -> str:
    return " ".join(human_text(octets).split())
