"""Every pair of state and command: what the table says is what the machine does."""

from collections.abc import Callable

import pytest

from tests.smtp.fixed_site import MachineClient
from valija.mail.origin import Role
from valija.smtp.rules import TlsOffer
from valija.smtp.server import ServerRules
from valija.smtp.states import LEGAL, TABLE, TABLE_WITHOUT_LOGINS, State

EHLO = b"EHLO client.example\r\n"
MAIL = b"MAIL FROM:<alice@local.example>\r\n"
RCPT = b"RCPT TO:<bob@local.example>\r\n"
LOGIN = b"AUTH PLAIN AGFsaWNlQGxvY2FsLmV4YW1wbGUAc2VjcmV0\r\n"

# How a session of a listener with logins gets into each state.
WAYS: dict[State, tuple[bytes, ...]] = {
    State.START: (),
    State.CLEAR: (EHLO,),
    State.STRANGER: (EHLO,),
    State.READY: (EHLO, LOGIN),
    State.MAILED: (EHLO, LOGIN, MAIL),
    State.ADDRESSED: (EHLO, LOGIN, MAIL, RCPT),
    State.CHUNKING: (EHLO, LOGIN, MAIL, RCPT, b"BDAT 2\r\n\r\n"),
    State.SPOILT: (EHLO, LOGIN, MAIL, RCPT, b"BDAT 2\r\nx\n"),
}

COMMANDS = {
    "EHLO": b"EHLO again.example\r\n",
    "HELO": b"HELO again.example\r\n",
    "MAIL": MAIL,
    "RCPT": RCPT,
    "DATA": b"DATA\r\n",
    "BDAT": b"BDAT 6\r\nQUIT\r\n",
    "AUTH": LOGIN,
    "VRFY": b"VRFY alice\r\n",
}


def in_state(state: State, *, logins: bool) -> MachineClient:
    role: Role = "smtpd" if not logins else "submission" if state is State.CLEAR else "submissions"
    tls: TlsOffer = "required" if state is State.CLEAR else "offered"
    client = MachineClient(ServerRules("mail.local.example", role, tls=tls))
    for line in WAYS[state]:
        if logins or line != LOGIN:
            client.ask(line)
    assert client.machine._state is state
    return client


def code_of(client: MachineClient, command: str) -> str:
    answers = client.ask(COMMANDS.get(command, command.encode() + b"\r\n"))
    assert len(answers) == 1, answers
    return answers[0]


@pytest.mark.parametrize("command", list(TABLE[State.START]))
@pytest.mark.parametrize(
    ("state", "logins"),
    # A listener without logins has no strangers.
    [(state, logins) for logins in (True, False) for state in State if logins or state is not State.STRANGER],
    ids=lambda value: value.name if isinstance(value, State) else "logins" if value else "smtpd",
)
def test_every_pair(state: State, command: str, logins: bool) -> None:
    client = in_state(state, logins=logins)
    refusal = (TABLE if logins else TABLE_WITHOUT_LOGINS)[state][command]
    reply = code_of(client, command)
    if refusal is not LEGAL:
        assert reply == str(refusal)
        assert client.machine._state is state
    else:
        assert reply[:3] in LEGAL_REPLIES[command](state, logins), reply
    assert client.machine.closed == (command == "QUIT")


def _always(*codes: str) -> Callable[[State, bool], tuple[str, ...]]:
    return lambda _state, _logins: codes


def _starttls(state: State, logins: bool) -> tuple[str, ...]:
    return ("220",) if state is State.CLEAR or not logins else ("503",)


LEGAL_REPLIES: dict[str, Callable[[State, bool], tuple[str, ...]]] = {
    "EHLO": _always("250"),
    "HELO": _always("250"),
    "NOOP": _always("250"),
    "RSET": _always("250"),
    "HELP": _always("214"),
    "QUIT": _always("221"),
    "VRFY": _always("252"),
    "STARTTLS": _starttls,
    "AUTH": _always("235"),
    "MAIL": _always("250"),
    "RCPT": _always("250"),
    "DATA": _always("354"),
    "BDAT": _always("250"),
}


@pytest.mark.parametrize("state", list(State), ids=lambda state: state.name)
@pytest.mark.parametrize("command", [b"WIZ", b"", b"XCLIENT ADDR=127.0.0.1", b"MAIL:FROM", b"EHLO\xff x"])
def test_unknown_commands_change_no_state(state: State, command: bytes) -> None:
    client = in_state(state, logins=True)
    assert [reply[:3] for reply in client.ask(command + b"\r\n")] in (["500"], ["501"])
    assert client.machine._state is state


@pytest.mark.parametrize(
    ("state", "command", "after"),
    [
        (State.MAILED, b"RSET\r\n", State.READY),
        (State.SPOILT, b"RSET\r\n", State.READY),
        (State.CHUNKING, EHLO, State.READY),
        (State.MAILED, b"RCPT TO:<nobody@local.example>\r\n", State.MAILED),
        (State.ADDRESSED, b"RCPT TO:<nobody@local.example>\r\n", State.ADDRESSED),
        (State.CHUNKING, b"BDAT 2 LAST\r\n\r\n", State.READY),
        (State.CHUNKING, b"BDAT x LAST\r\n", State.SPOILT),
        (State.ADDRESSED, b"BDAT 1 LAST\r\n\n", State.READY),
        (State.ADDRESSED, b"BDAT x\r\n", State.ADDRESSED),
    ],
)
def test_where_commands_lead(state: State, command: bytes, after: State) -> None:
    client = in_state(state, logins=True)
    assert len(client.ask(command)) == 1
    assert client.machine._state is after
