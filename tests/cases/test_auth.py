"""AUTH on the running server, judged by its own accounts and by the real Dovecot: the same answers from both."""

import base64
import unicodedata
from collections.abc import Iterator

import pytest

from tests.cases.conftest import SITE, assert_only_lines_of_ours
from tests.cases.talk import Talk, plain
from tests.dovecot import MISSING, LiveDovecot
from tests.live import LiveServer, overlay

ALICE = "alice@local.example"
CAROL = "carol@local.example"
RENE = "rene@local.example"
USERS = {ALICE: "secret", CAROL: "x", RENE: "tést", "bob@local.example": "hunter2"}
WRONG = "535 5.7.8 "
MALFORMED = "501 5.5.2 "


def _with_accounts() -> Iterator[LiveServer]:
    with LiveServer(SITE) as server:
        for login, password in USERS.items():
            server.add_user(login, password)
        yield server
    assert_only_lines_of_ours(server)


def _with_dovecot() -> Iterator[LiveServer]:
    if MISSING:
        pytest.skip(MISSING)
    nobody_asked = {"dora@local.example": ""}  # her password is empty, and Dovecot would let her in
    with LiveDovecot(USERS | nobody_asked) as dovecot:
        with LiveServer(overlay(SITE, {"sasl": {"type": "dovecot", "path": dovecot.socket}})) as server:
            yield server
        assert_only_lines_of_ours(server)


BACKENDS = {"accounts": _with_accounts, "dovecot": _with_dovecot}


@pytest.fixture(scope="module", params=BACKENDS)
def server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    yield from BACKENDS[request.param]()


@pytest.fixture
def talk(server: LiveServer) -> Iterator[Talk]:
    """A client inside TLS that has said EHLO."""
    with Talk(server.submissions, tls=True) as client:
        client.hello()
        yield client


def encoded(octets: str | bytes) -> str:
    return base64.b64encode(octets.encode() if isinstance(octets, str) else octets).decode()


# C037: in clear


def test_c037_auth_before_tls(server: LiveServer) -> None:
    since = len(server.log.text)
    with Talk(server.submission) as client:
        assert "AUTH" not in client.hello()
        assert client.say(f"AUTH PLAIN {plain(ALICE, 'secret')}").startswith("538 5.7.11 ")
        assert client.say("AUTH LOGIN").startswith("538 5.7.11 ")
        assert client.say(f"MAIL FROM:<{ALICE}>").startswith("530 5.7.0 ")
        assert client.say("QUIT").startswith("221")
    server.wait_for_log(r"session .*ended=quit")
    assert "secret" not in server.log.text[since:]
    assert plain(ALICE, "secret") not in server.log.text[since:]


# C040: the client gives up


@pytest.mark.parametrize(
    "said",
    [
        ("AUTH PLAIN", "*"),
        ("AUTH LOGIN", "*"),
        ("AUTH LOGIN", encoded(ALICE), "*"),
    ],
    ids=["PLAIN", "LOGIN, first prompt", "LOGIN, second prompt"],
)
def test_c040_cancel(talk: Talk, said: tuple[str, ...]) -> None:
    for _ in range(12):  # more often than a session may fail to log in
        for line in said[:-1]:
            assert talk.say(line).startswith("334 ")
        assert talk.say(said[-1]).startswith("501 5.7.0 ")
    assert talk.say("NOOP").startswith("250")
    talk.log_in(ALICE, "secret")


def test_c040_cancel_of_scram(talk: Talk) -> None:
    offered = "SCRAM-SHA-256" in talk.ehlo()
    answer = talk.say("AUTH SCRAM-SHA-256 " + encoded(f"n,,n={ALICE},r=clientnonce"))
    if offered:
        assert answer.startswith("334 ")
        assert talk.say("*").startswith("501 5.7.0 ")
    else:
        assert answer.startswith("504 5.5.4 ")
    talk.log_in(ALICE, "secret")


# C042: short passwords


@pytest.mark.parametrize("login", [ALICE, "dora@local.example"])
def test_c042_empty_password(talk: Talk, login: str) -> None:
    assert talk.say(f"AUTH PLAIN {plain(login, '')}").startswith(WRONG)
    assert talk.say(f"AUTH LOGIN {encoded(login)}").startswith("334 ")
    assert talk.say("").startswith(WRONG)


def test_c042_one_character(talk: Talk) -> None:
    talk.log_in(CAROL, "x")


def test_c042_password_is_not_taken_from_the_user_name(talk: Talk) -> None:
    assert talk.say(f"AUTH PLAIN {encoded(f'{ALICE}{chr(0)}secret')}").startswith(MALFORMED)


# C043: LOGIN as it is spoken


def test_c043_prompts(talk: Talk) -> None:
    assert talk.say("auth login") == "334 VXNlcm5hbWU6"
    assert talk.say(encoded(ALICE)) == "334 UGFzc3dvcmQ6"
    assert talk.say(encoded("secret")).startswith("235 2.7.0 ")


def test_c043_initial_response(talk: Talk) -> None:
    assert talk.say(f"AUTH Login {encoded(ALICE)}") == "334 UGFzc3dvcmQ6"
    assert talk.say(encoded("secret")).startswith("235 2.7.0 ")


# C044: AUTH has its place


def test_c044_before_ehlo(server: LiveServer) -> None:
    with Talk(server.submissions, tls=True) as client:
        assert (client.reply() or "").startswith("220")
        assert client.say(f"AUTH PLAIN {plain(ALICE, 'secret')}").startswith("503 5.5.1 ")


def test_c044_once_is_enough(talk: Talk) -> None:
    talk.log_in(ALICE, "secret")
    assert talk.say(f"AUTH PLAIN {plain('bob@local.example', 'hunter2')}").startswith("503 5.5.1 ")
    assert talk.say("RSET").startswith("250")
    assert talk.say(f"AUTH PLAIN {plain('bob@local.example', 'hunter2')}").startswith("503 5.5.1 ")
    assert talk.say("MAIL FROM:<bob@local.example>").startswith("550 5.7.1 "), "she is still alice"
    assert talk.say(f"MAIL FROM:<{ALICE}>").startswith("250")


def test_c044_failure_then_success(talk: Talk) -> None:
    assert talk.say(f"AUTH PLAIN {plain(ALICE, 'wrong')}").startswith(WRONG)
    talk.log_in(ALICE, "secret")


def test_c044_not_within_a_transaction(server: LiveServer) -> None:
    with Talk(server.submissions, tls=True) as client:
        client.hello()
        client.log_in(ALICE, "secret")
        assert client.say(f"MAIL FROM:<{ALICE}>").startswith("250")
        assert client.say(f"AUTH PLAIN {plain(ALICE, 'secret')}").startswith("503 5.5.1 ")


@pytest.mark.parametrize("mechanism", ["FOO", "ANONYMOUS", "EXTERNAL", "DOVECOT-TOKEN", "SCRAM-SHA-512-PLUS"])
def test_c044_mechanism_that_is_not_offered(talk: Talk, mechanism: str) -> None:
    assert talk.say(f"AUTH {mechanism}").startswith("504 5.5.4 ")
    assert talk.say(f"AUTH {mechanism} {encoded('guest')}").startswith("504 5.5.4 ")
    assert talk.say(f"MAIL FROM:<{ALICE}>").startswith("530 5.7.0 ")


def test_c044_ten_failures_end_the_session(talk: Talk) -> None:
    for _ in range(9):
        assert talk.say(f"AUTH PLAIN {encoded('nonsense')}").startswith(MALFORMED)
        assert talk.say("RSET").startswith("250")
        assert talk.ehlo()
    last = talk.say(f"AUTH PLAIN {plain(ALICE, 'wrong')}")
    assert last.startswith((WRONG, "421 4.7.0 "))
    assert last.startswith("421") or (talk.reply() or "").startswith("421 4.7.0 ")
    assert talk.is_closed()


def test_c044_to_act_as_somebody_else(talk: Talk) -> None:
    response = encoded("bob@local.example\0alice@local.example\0secret")
    assert talk.say(f"AUTH PLAIN {response}").startswith(WRONG)


# C046: long responses


@pytest.mark.parametrize("size", [4096, 7880, 12288])
def test_c046_long_response_is_read_and_wrong(talk: Talk, server: LiveServer, size: int) -> None:
    response = encoded(f"\0{ALICE}\0".ljust(size // 4 * 3, "p"))
    assert len(response) == size
    assert talk.say("AUTH PLAIN") == "334 "
    assert talk.say(response).startswith(WRONG)
    talk.log_in(ALICE, "secret")
    assert "connection to Dovecot lost" not in server.log.text, "all users share it, so nobody may break it"


def test_c046_endless_response_is_bounded(talk: Talk) -> None:
    assert talk.say("AUTH PLAIN") == "334 "
    assert talk.say("A" * 100_000).startswith(("500 5.5.6 ", "501 "))
    talk.log_in(ALICE, "secret")


def test_c046_long_initial_response(talk: Talk) -> None:
    answer = talk.say(f"AUTH PLAIN {encoded(f'{chr(0)}{ALICE}{chr(0)}'.ljust(1500, 'p'))}")
    assert answer.startswith((WRONG, "500 5.5."))
    talk.log_in(ALICE, "secret")


# C047: passwords beyond ASCII


def test_c047_composed(talk: Talk) -> None:
    talk.log_in(RENE, unicodedata.normalize("NFC", "tést"))


def test_c047_decomposed(talk: Talk, request: pytest.FixtureRequest) -> None:
    """Our accounts compare as RFC 8265 says; Dovecot compares octets."""
    answer = talk.say(f"AUTH PLAIN {plain(RENE, unicodedata.normalize('NFD', 'tést'))}")
    assert answer.startswith("235 " if "accounts" in request.node.name else WRONG)


def test_c047_in_another_character_set(talk: Talk) -> None:
    assert talk.say("AUTH PLAIN " + encoded(f"\0{RENE}\0tést".encode("latin-1"))).startswith(WRONG)
    talk.log_in(ALICE, "secret")


# What a user name can't do


@pytest.mark.parametrize(
    "name", ["alice\tuser=bob", "alice\nOK\t1\tuser=bob", "alice\x01tuser", "alice\x7f", "\u202ealice"]
)
def test_user_name_with_controls_is_malformed(talk: Talk, name: str) -> None:
    assert talk.say(f"AUTH PLAIN {plain(name, 'secret')}").startswith(MALFORMED)
    assert talk.say(f"AUTH LOGIN {encoded(name)}").startswith(MALFORMED)
    talk.log_in(ALICE, "secret")
