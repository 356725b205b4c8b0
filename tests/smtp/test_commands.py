"""From lines to commands: the codes that faults get."""

import pytest

from valija.mail.envelope import Notify, Recipient
from valija.mail.reply import Reply
from valija.smtp import answers, commands
from valija.smtp.commands import Chunk, Refused
from valija.smtp.events import Auth, Mail

OFFERED = ("PLAIN", "LOGIN", "SCRAM-SHA-256")


def refusal_of_mail(argument: str, *, extended: bool = True) -> Reply:
    with pytest.raises(Refused) as caught:
        commands.mail(argument, extended=extended)
    return caught.value.reply


def refusal_of_rcpt(argument: str, *, smtputf8: bool = False) -> Reply:
    with pytest.raises(Refused) as caught:
        commands.rcpt(argument, extended=True, smtputf8=smtputf8)
    return caught.value.reply


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"NOOP", ("NOOP", "")),
        (b"noop  x  ", ("NOOP", "x")),
        (b"Mail\tFROM:<>", ("MAIL", "FROM:<>")),
        (b"", ("", "")),
        (b" NOOP", ("", "NOOP")),
        (b'RCPT TO:<"a\tb"@c.example>', ("RCPT", 'TO:<"a\tb"@c.example>')),
        ("MAIL FROM:<é@b>".encode(), ("MAIL", "FROM:<é@b>")),
    ],
)
def test_split(line: bytes, command: tuple[str, str]) -> None:
    assert commands.split(line) == command


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"NOOP\rx", answers.CONTROL_CHARACTERS),
        (b"NOOP\nx", answers.CONTROL_CHARACTERS),
        (b"NOOP\0", answers.CONTROL_CHARACTERS),
        (b"NOOP\x7f", answers.CONTROL_CHARACTERS),
        ("RCPT \x85".encode(), answers.CONTROL_CHARACTERS),
        ("RCPT \u2028".encode(), answers.CONTROL_CHARACTERS),
        (b"MAIL \xff", answers.NOT_UTF8),
        ("NOOP é".encode(), answers.NOT_ASCII),
        ("maıl FROM:<>".encode(), answers.NOT_ASCII),
    ],
)
def test_lines_that_are_no_command(line: bytes, reply: Reply) -> None:
    with pytest.raises(Refused) as caught:
        commands.split(line)
    assert caught.value.reply is reply


def test_mail_with_everything() -> None:
    command = commands.mail(
        "from:<a@b.example> SIZE=5 body=8bitmime SMTPUTF8 AUTH=<> RET=hdrs ENVID=QQ+2B3", extended=True
    )
    assert command == Mail("a@b.example", 5, "8BITMIME", True, "HDRS", "QQ+2B3")


def test_mail_with_nothing() -> None:
    assert commands.mail("FROM:<>", extended=False) == Mail("", 0, "7BIT", False, "", "")


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        ("<a@b.example>", "501 5.5.2"),
        ("", "501 5.5.2"),
        ("FROM :<a@b.example>", "501 5.5.2"),
        ("FROM:", "501 5.1.7"),
        ("FROM:<postmaster>", "501 5.1.7"),
    ],
)
def test_mail_syntax(argument: str, code: str) -> None:
    assert str(refusal_of_mail(argument)).startswith(code)


@pytest.mark.parametrize("path", [" <a@b.example>", "\t<a@b.example>"])
def test_c014_blanks_after_the_colon(path: str) -> None:
    assert commands.mail(f"FROM:{path} SIZE=0", extended=True).reverse_path == "a@b.example"
    assert commands.rcpt(f"TO:{path}", extended=True, smtputf8=False).address == "a@b.example"


@pytest.mark.parametrize("path", ["<>>>>>", "<a@b.example>>>", "<a@b.example>SIZE=5"])
def test_c016_garbage_after_the_path(path: str) -> None:
    assert refusal_of_mail("FROM:" + path) is answers.GARBAGE_AFTER_PATH
    if "@" in path:
        assert refusal_of_rcpt("TO:" + path) is answers.GARBAGE_AFTER_PATH


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("FOO=1", 555),
        ("NOTIFY=NEVER", 555),
        ("ORCPT=rfc822;a@b", 555),
        ("SIZE=abc", 501),
        ("SIZE", 501),
        ("SIZE=99999999999999999999999", 501),
        ("SIZE=٣", 501),
        ("BODY=9BIT", 501),
        ("BODY=BINARYMIME", 501),
        ("BODY", 501),
        ("SIZE=1 SIZE=2", 501),
        ("SMTPUTF8=yes", 501),
        ("AUTH", 501),
        ("FOO=", 501),
        ("=", 501),
    ],
)
def test_c018_parameters(parameters: str, code: int) -> None:
    reply = refusal_of_mail(f"FROM:<> {parameters}")
    assert (reply.code, reply.enhanced) == (code, "5.5.4")


def test_c018_no_parameters_after_helo() -> None:
    assert refusal_of_mail("FROM:<> SIZE=1", extended=False) is answers.UNKNOWN_PARAMETER


@pytest.mark.parametrize(
    "parameter", ["AUTH=x+0AReceived:+20evil", "AUTH=+00", "ENVID=a+00b", "ENVID=a+2b", "ENVID=a=b", "ENVID=é"]
)
def test_c028_xtext(parameter: str) -> None:
    assert refusal_of_mail(f"FROM:<> SMTPUTF8 {parameter}") is answers.BAD_PARAMETER


def test_c028_xtext_in_rcpt() -> None:
    assert refusal_of_rcpt("TO:<a@b.example> ORCPT=rfc822;a+0Ab@c.example") is answers.BAD_PARAMETER


def test_c029_an_address_that_was_not_declared() -> None:
    assert refusal_of_mail("FROM:<ü@b.example>") is answers.NEEDS_SMTPUTF8
    assert refusal_of_mail("FROM:<a@bücher.example>") is answers.NEEDS_SMTPUTF8
    assert refusal_of_rcpt("TO:<ü@b.example>") is answers.NEEDS_SMTPUTF8
    assert commands.mail("FROM:<ü@bücher.example> SMTPUTF8", extended=True).reverse_path == "ü@xn--bcher-kva.example"


@pytest.mark.parametrize("parameter", ["NOTIFY=NEVER,FAILURE", "NOTIFY=FOO", "NOTIFY=", "NOTIFY", "NOTIFY=SUCCESS,"])
def test_c093_notify(parameter: str) -> None:
    assert refusal_of_rcpt(f"TO:<a@b.example> {parameter}") is answers.BAD_PARAMETER


def test_c093_notify_twice() -> None:
    assert refusal_of_rcpt("TO:<a@b.example> NOTIFY=DELAY NOTIFY=FAILURE") is answers.BAD_PARAMETER


@pytest.mark.parametrize("parameters", ["RET=HDRS RET=FULL", "RET=x", "RET"])
def test_c094_ret(parameters: str) -> None:
    assert refusal_of_mail(f"FROM:<> {parameters}") is answers.BAD_PARAMETER


def test_c095_envid_and_orcpt_stay_encoded() -> None:
    assert commands.mail("FROM:<> ENVID=QQ+2B314159", extended=True).envid == "QQ+2B314159"
    recipient = commands.rcpt(
        "TO:<x@b.example> ORCPT=rfc822;a+2Bb@b.example NOTIFY=failure,DELAY", extended=True, smtputf8=False
    )
    assert recipient == Recipient("x@b.example", Notify.FAILURE | Notify.DELAY, "rfc822;a+2Bb@b.example")


@pytest.mark.parametrize(
    "path",
    ['"odd user"@remote.example', '"a@b"@remote.example', '""@remote.example', '" "@local.example', r'"\""@x.example'],
)
def test_c020_quoted_local_parts_survive(path: str) -> None:
    assert commands.rcpt(f"TO:<{path}>", extended=True, smtputf8=False).address == path
    assert commands.mail(f"FROM:<{path}>", extended=True).reverse_path == path


@pytest.mark.parametrize(
    "path",
    [
        "victim@remote.example@",
        '"victim%remote.example"',
        "@local.example:victim@remote.example",
        "victim@remote.example@local.example",
    ],
)
def test_c062_forms_that_no_grammar_has(path: str) -> None:
    assert refusal_of_rcpt(f"TO:<{path}>") is answers.BAD_FORWARD_PATH


@pytest.mark.parametrize(
    "path",
    [
        "victim%remote.example@local.example",
        '"victim@remote.example"@local.example',
        "remote.example!victim@local.example",
        "victim@[127.0.0.1]",
        "victim@[IPv6:::1]",
        "victim@localhost",
    ],
)
def test_c062_forms_that_are_left_to_policy_arrive_unchanged(path: str) -> None:
    assert commands.rcpt(f"TO:<{path}>", extended=True, smtputf8=False).address == path


@pytest.mark.parametrize(
    ("argument", "chunk"), [("0 LAST", Chunk(0, True)), ("14", Chunk(14, False)), ("5\tlast", Chunk(5, True))]
)
def test_bdat(argument: str, chunk: Chunk) -> None:
    assert commands.chunk(argument) == chunk


@pytest.mark.parametrize("argument", ["", "x LAST", "-1", "+1", "1 LATE", "1 LAST x", "1_0", "٣", "LAST"])
def test_c034_bad_bdat(argument: str) -> None:
    with pytest.raises(Refused) as caught:
        commands.chunk(argument)
    assert caught.value.reply is answers.BAD_BDAT


@pytest.mark.parametrize("argument", ["<a@b.example>", "", "TO", "FROM:<a@b.example>"])
def test_rcpt_syntax(argument: str) -> None:
    assert refusal_of_rcpt(argument) is answers.RCPT_SYNTAX


@pytest.mark.parametrize(("argument", "reply"), [("", answers.BAD_VRFY), ("ü@b.example", answers.NEEDS_SMTPUTF8)])
def test_vrfy_syntax(argument: str, reply: Reply) -> None:
    with pytest.raises(Refused) as caught:
        commands.verify(argument)
    assert caught.value.reply is reply


def test_vrfy() -> None:
    commands.verify("alice")
    commands.verify("ü@b.example SMTPUTF8")


def test_auth() -> None:
    assert commands.auth("plain", OFFERED) == Auth("PLAIN", None)
    assert commands.auth("PLAIN =", OFFERED) == Auth("PLAIN", b"")
    assert commands.auth("FOO !!!", OFFERED) == Auth("FOO", None)
    assert commands.auth("PLAIN AGE=", ()) == Auth("PLAIN", b"\0a")
    assert commands.auth("SCRAM-SHA-256  AGE=", OFFERED) == Auth("SCRAM-SHA-256", b"\0a")


@pytest.mark.parametrize("argument", ["", "PLAIN AA== AA==", "PL:AIN", "X" * 21])
def test_auth_syntax(argument: str) -> None:
    with pytest.raises(Refused) as caught:
        commands.auth(argument, OFFERED)
    assert caught.value.reply is answers.BAD_AUTH


@pytest.mark.parametrize("response", ["==", "A", "AA=A", "AAAA=", "AAAA====", "A=AA", "AA==AA==", "AA", "A-_A", "AÅA="])
def test_auth_with_bad_base64(response: str) -> None:
    with pytest.raises(Refused) as caught:
        commands.auth(f"PLAIN {response}", OFFERED)
    assert caught.value.reply is answers.BAD_BASE64


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1", b"post /", b"PRI * HTTP/2.0", b"CONNECT x:25 HTTP/1.1"])
def test_c023_foreign(start: bytes) -> None:
    assert commands.is_foreign(start)


@pytest.mark.parametrize("start", [b"EHLO GET", b"", b"GETAWAY", b"\xff\x00"])
def test_not_foreign(start: bytes) -> None:
    assert not commands.is_foreign(start)
