import pytest

from valija.mail.origin import Role
from valija.mail.reply import Reply
from valija.policy.networks import Networks
from valija.policy.relay import Allowed, RelayFacts, decide, domains_of

HOSTED = ("local.example", "xn--bcher-kva.example")
ACCOUNTS = {"alice@local.example", '"odd@user"@local.example'}
STRANGER = "198.51.100.9"

# The forms that trick relays (C062), as they may come through the grammar of RCPT, and some of their relatives.
TRICKS = [
    "victim@remote.example",
    "victim%remote.example@local.example",
    '"victim%remote.example"',
    '"victim%remote.example"@local.example',
    "victim%remote.example",
    "victim@remote.example@",
    '"victim@remote.example"@local.example',
    '"victim@remote.example"',
    "remote.example!victim@local.example",
    "remote.example!victim",
    "local.example!remote.example!victim@local.example",
    "@local.example:victim@remote.example",
    "@local.example,@remote.example:victim@remote.example",
    "victim@remote.example@local.example",
    "victim@[127.0.0.1]",
    "victim@[IPv6:::1]",
    "victim@[198.51.100.1]",
    "victim@127.0.0.1",
    "victim@2130706433",
    "victim@localhost",
    "victim@",
    "@",
    "",
    "victim",
    "victim@local.example.remote.example",
    "victim@remote.local.example",
    "victim@local.example@remote.example",
    "victim@local.example..",
    "victim@.local.example",
    "victim@remote.example.",
    "victim@REMOTE.example",
    "victim@[local.example]",
    "victim@local.example]",
    "alice@local.example:25",
    "alice@local.example\x00",
    "alice@local.example\n",
    "alice@local.example ",
    "postmaster@remote.example",
    "postmaster@",
    '"postmaster@remote.example"',
    "postmaster%remote.example@local.example",
]


def _facts(*networks: str, domains: tuple[str, ...] = HOSTED) -> RelayFacts:
    parsed, faults = Networks.parse(networks or ("127.0.0.0/8", "[::1]/128", "10.0.0.0/8"))
    assert not faults

    def exists(address: str) -> bool:
        assert address.rpartition("@")[2] in domains, "asked for an address that is not hosted"
        return address in ACCOUNTS

    return RelayFacts(parsed, frozenset(domains), domains[0], exists)


@pytest.mark.parametrize("client", [STRANGER, "2001:db8::9", "::ffff:198.51.100.9", "", "unknown", "garbage"])
@pytest.mark.parametrize("recipient", TRICKS)
def test_c062_no_form_makes_a_relay_for_a_stranger(recipient: str, client: str) -> None:
    reply = decide("smtpd", client, "", recipient, _facts())
    assert isinstance(reply, Reply)
    assert reply.is_permanent
    assert reply.encode().count(b"\r\n") == 1


@pytest.mark.parametrize(
    ("recipient", "code", "enhanced"),
    [
        ("victim@remote.example", 554, "5.7.1"),
        ("victim@localhost", 554, "5.7.1"),
        ("victim@[127.0.0.1]", 554, "5.7.1"),
        ("victim@[IPv6:::1]", 554, "5.7.1"),
        ("victim@remote.local.example", 554, "5.7.1"),
        ("@local.example:victim@remote.example", 554, "5.7.1"),
        ("victim%remote.example@local.example", 550, "5.1.1"),
        ("remote.example!victim@local.example", 550, "5.1.1"),
        ('"victim@remote.example"@local.example', 550, "5.1.1"),
        ("victim@remote.example@local.example", 550, "5.1.1"),
        ("victim@remote.example@", 501, "5.1.3"),
        ('"victim%remote.example"', 501, "5.1.3"),
        ("victim@local.example..", 501, "5.1.3"),
        ("nobody@local.example", 550, "5.1.1"),
    ],
)
def test_c062_a_stranger_s_refusal(recipient: str, code: int, enhanced: str) -> None:
    reply = decide("smtpd", STRANGER, "", recipient, _facts())
    assert isinstance(reply, Reply)
    assert (reply.code, reply.enhanced) == (code, enhanced)


def test_the_refusal_names_the_recipient() -> None:
    facts = _facts()
    denied = Reply(554, "5.7.1", "<bob@remote.example>: Relay access denied")
    assert decide("smtpd", STRANGER, "", "bob@remote.example", facts) == denied
    unknown = Reply(550, "5.1.1", "<bob@local.example>: User unknown")
    assert decide("smtpd", STRANGER, "", "bob@LOCAL.example", facts) == unknown


@pytest.mark.parametrize(
    ("recipient", "address"),
    [
        ("alice@local.example", "alice@local.example"),
        ("alice@LOCAL.Example", "alice@local.example"),
        ("alice@local.example.", "alice@local.example"),
        ('"odd@user"@local.example', '"odd@user"@local.example'),
        ("postmaster@local.example", "postmaster@local.example"),
        ("PostMaster@local.example", "PostMaster@local.example"),
        ("Postmaster", "Postmaster@local.example"),
        ("POSTMASTER", "POSTMASTER@local.example"),
        ('"postmaster"', '"postmaster"@local.example'),
        ("postmaster@bücher.example", "postmaster@xn--bcher-kva.example"),
        ("postmaster@BÜCHER.example", "postmaster@xn--bcher-kva.example"),
        ("postmaster@XN--BCHER-KVA.example", "postmaster@xn--bcher-kva.example"),
    ],
)
def test_a_stranger_reaches_who_lives_here(recipient: str, address: str) -> None:
    domain = address.rpartition("@")[2]
    assert decide("smtpd", STRANGER, "", recipient, _facts()) == Allowed(f"hosted {domain}", address)


@pytest.mark.parametrize(
    ("client", "rule"),
    [
        ("127.0.0.1", "mynetworks 127.0.0.0/8"),
        ("::ffff:127.0.0.1", "mynetworks 127.0.0.0/8"),
        ("::1", "mynetworks [::1]/128"),
        ("::ffff:10.9.8.7", "mynetworks 10.0.0.0/8"),
    ],
)
def test_a_trusted_client_may_relay(client: str, rule: str) -> None:
    facts = _facts()
    assert decide("smtpd", client, "", "bob@Remote.example.", facts) == Allowed(rule, "bob@remote.example")
    assert decide("smtpd", client, "", "alice@local.example", facts) == Allowed(rule, "alice@local.example")
    assert facts.trusts(client)


@pytest.mark.parametrize("client", ["172.17.0.1", "172.22.1.1", "fd00::1", "192.168.0.1"])
def test_c065_no_private_address_is_trusted_by_itself(client: str) -> None:
    facts = _facts("127.0.0.0/8", "[::1]/128")
    assert not facts.trusts(client)
    reply = decide("smtpd", client, "", "bob@remote.example", facts)
    assert isinstance(reply, Reply)
    assert reply.enhanced == "5.7.1"


@pytest.mark.parametrize("role", ["submission", "submissions"])
def test_a_user_may_relay_from_anywhere(role: Role) -> None:
    allowed = decide(role, STRANGER, "alice@local.example", "bob@remote.example", _facts())
    assert allowed == Allowed("login alice@local.example", "bob@remote.example")


@pytest.mark.parametrize("recipient", ["bob@remote.example", "alice@local.example", "Postmaster"])
@pytest.mark.parametrize("role", ["submission", "submissions"])
def test_c072_being_in_mynetworks_changes_nothing_on_submission(role: Role, recipient: str) -> None:
    reply = decide(role, "127.0.0.1", "", recipient, _facts())
    assert isinstance(reply, Reply)
    assert (reply.code, reply.enhanced) == (530, "5.7.0")


def test_a_login_means_nothing_on_smtpd() -> None:
    reply = decide("smtpd", STRANGER, "alice@local.example", "bob@remote.example", _facts())
    assert isinstance(reply, Reply)
    assert reply.code == 554


@pytest.mark.parametrize(
    ("role", "client", "login"),
    [("smtpd", "127.0.0.1", ""), ("submission", STRANGER, "alice@local.example"), ("local", "", "root")],
)
def test_who_is_trusted_hears_of_unknown_users_and_literals_too(role: Role, client: str, login: str) -> None:
    def refusal(recipient: str) -> str:
        reply = decide(role, client, login, recipient, _facts())
        assert isinstance(reply, Reply)
        return f"{reply.code} {reply.enhanced}"

    assert refusal("nobody@local.example") == "550 5.1.1"
    assert refusal("bob%remote.example@local.example") == "550 5.1.1"
    assert refusal("bob@[192.0.2.1]") == "550 5.1.2"
    assert refusal("bob@[IPv6:2001:db8::1]") == "550 5.1.2"
    assert refusal("bob@192.0.2.1") == "550 5.1.2"
    assert refusal("bob@remote..example") == "501 5.1.3"
    assert refusal("bob") == "501 5.1.3"


def test_a_directory_s_fault_is_not_an_answer() -> None:
    def broken(_: str) -> bool:
        raise OSError("disk")

    facts = RelayFacts(Networks(), frozenset({"local.example"}), "local.example", broken)
    with pytest.raises(OSError, match="disk"):
        decide("smtpd", STRANGER, "", "alice@local.example", facts)


# Hosted domains


def test_domains_are_normalised_in_order_and_once() -> None:
    domains, faults = domains_of(["Example.ORG", "bücher.example", "example.org."], "mail.example.org")
    assert domains == ("example.org", "xn--bcher-kva.example")
    assert not faults


def test_a_server_without_domains_hosts_its_own_name() -> None:
    domains, faults = domains_of([], "mail.example.org")
    assert (domains, faults) == (("mail.example.org",), [])
    facts = _facts(domains=domains)
    assert decide("smtpd", STRANGER, "", "Postmaster", facts) == Allowed(
        "hosted mail.example.org", "Postmaster@mail.example.org"
    )


@pytest.mark.parametrize(
    ("entry", "reason", "remedy"),
    [
        ("", "between 1 and 255 octets", "write a domain"),
        ("a..b", "made of labels", "write a domain"),
        ("user@example.org", "it is an address", "'example.org'"),
        ("*.example.org", "does not stand for its subdomains", "name each domain"),
        (".example.org", "does not stand for its subdomains", "name each domain"),
        ("192.0.2.1", "it is an IP address", "write a domain"),
        ("[192.0.2.1]", "it is an IP address", "write a domain"),
        ("exa mple.org", "made of labels", "write a domain"),
        (7, "it is not a string", "put it in quotes"),
    ],
)
def test_a_domain_s_fault(entry: object, reason: str, remedy: str) -> None:
    domains, faults = domains_of(["example.org", entry], "mail.example.org")
    assert domains == ("example.org",)
    assert faults[0].value == entry
    assert reason in faults[0].reason
    assert remedy in faults[0].remedy
