"""One fault at a time: the probe finds that one, and nothing else is bad."""

import ssl
import time
import warnings
from collections.abc import Collection
from pathlib import Path

import pytest

from tests.ca import CertificateAuthority
from tests.live import HOST
from tests.probe.weak import NAME, WeakServer
from valija.probe.judgement import Judgement
from valija.probe.names import Names
from valija.probe.probing import probe_port
from valija.probe.relay import FORMS_A_CONNECTION
from valija.probe.target import Role, Target

RECIPIENT = "alice@example.org"


class Lab:
    """An authority, and contexts for servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = CertificateAuthority()
        self.ca_file = str(self.authority.write_root(folder / "ca.pem"))

    def context(
        self, *names: str, days: tuple[float, float] = (-1, 90), floor: int = ssl.TLSVersion.TLSv1_2
    ) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.authority.issue(*(names or (NAME,)), days=days).write(self.folder))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion(floor)
        if floor < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("ALL:eNULL:@SECLEVEL=0")
        return context


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def probed(server: WeakServer, lab: Lab, role: Role = "smtp", **changes: object) -> dict[str, Judgement]:
    facts = {"recipient": RECIPIENT, "domain": "example.org", "ca_file": lab.ca_file, "name": NAME, **changes}
    target = Target(host=HOST, address=HOST, ehlo="probe.example", ports={role: server.port}, timeout=5.0, **facts)  # type: ignore[arg-type]  # facts of several types
    judgements = list(probe_port(target, role, lookup=lambda address, name: Names(), now=time.time()))
    found = {judgement.id: judgement for judgement in judgements}
    assert len(found) == len(judgements), "two tests of one id"
    return found


def bad(found: dict[str, Judgement]) -> set[str]:
    assert all(each.remedy and each.evidence for each in found.values() if each.verdict in ("bad", "warning"))
    return {each.id for each in found.values() if each.verdict == "bad"}


def of(verdict: str, found: dict[str, Judgement]) -> set[str]:
    return {each.id for each in found.values() if each.verdict == verdict}


def named(found: Collection[str], part: str) -> set[str]:
    return {each for each in found if part in each}


def test_a_server_without_faults(lab: Lab) -> None:
    with WeakServer((), lab.context()) as server:
        found = probed(server, lab)
    assert bad(found) == set()
    assert of("warning", found) == {"smtp-early-talker"}
    assert of("unknown", found) <= {"smtp-cipher-old"}
    assert len(server.contents) == len(named(found, "end-of-data"))


def test_c062_an_open_relay(lab: Lab) -> None:
    with WeakServer({"relay"}, lab.context()) as server:
        found = probed(server, lab)
    outside = named(bad(found), "-relay-")
    assert {
        "smtp-relay-plain",
        "smtp-relay-null-sender",
        "smtp-relay-percent-bare",
        "smtp-relay-source-route",
    } <= outside
    assert len(outside) == 18
    assert found["smtp-relay-percent-own"].verdict == "unknown"  # it takes everything, so that this says nothing
    assert "S: 250 2.1.5 ok" in found["smtp-relay-plain"].evidence


def test_a_trusted_machine_proves_no_open_relay(lab: Lab) -> None:
    with WeakServer({"relay"}, lab.context()) as server:
        found = probed(server, lab, is_at_home=True)
    assert not named(bad(found), "-relay-")
    assert found["smtp-relay-plain"].verdict == "unknown"
    assert "--source" in found["smtp-relay-plain"].remedy


def test_c062_the_percent_hack_alone(lab: Lab) -> None:
    with WeakServer({"percent"}, lab.context()) as server:
        found = probed(server, lab)
    assert bad(found) == {"smtp-relay-percent-own", "smtp-relay-percent-literal", "smtp-relay-route-here"}


def test_a_server_that_takes_any_local_part_is_no_relay(lab: Lab) -> None:
    with WeakServer({"catch-all"}, lab.context()) as server:
        found = probed(server, lab)
    assert bad(found) == set()
    assert found["smtp-relay-bang-own"].verdict == "unknown"
    assert found["smtp-relay-plain"].verdict == "good"


def test_greylisting_hides_the_answer(lab: Lab) -> None:
    with WeakServer({"greylist"}, lab.context()) as server:
        found = probed(server, lab)
    assert bad(found) == set()
    assert len(named(of("unknown", found), "-relay-")) == 30
    assert found["smtp-end-of-data-lf-dot-lf"].verdict == "not tested"


def test_a_deferral_of_relaying_is_a_refusal(lab: Lab) -> None:
    with WeakServer({"defers"}, lab.context()) as server:
        assert not named(of("unknown", probed(server, lab)), "-relay-")


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        ("auth", {"smtp-auth-offered", "smtp-login-in-clear"}),
        ("injection", {"smtp-starttls-injection"}),
        ("state", {"smtp-starttls-state"}),
        (
            "lone-lf",
            {"smtp-end-of-data-lf-dot-lf", "smtp-end-of-data-lf-dot-crlf", "smtp-end-of-data-crlf-dot-lf"},
        ),
    ],
)
def test_one_fault(lab: Lab, fault: str, wrong: set[str]) -> None:
    with WeakServer({fault}, lab.context()) as server:
        assert bad(probed(server, lab)) == wrong


@pytest.mark.parametrize(
    ("fault", "wrong"), [("vrfy", "smtp-vrfy"), ("falls", "smtp-long-line"), ("no-starttls", "smtp-starttls")]
)
def test_what_is_worth_a_warning(lab: Lab, fault: str, wrong: str) -> None:
    with WeakServer({fault}, lab.context()) as server:
        found = probed(server, lab)
    assert bad(found) == set()
    assert of("warning", found) == {"smtp-early-talker", wrong}


def test_without_tls_the_tests_of_tls_say_why_they_were_left_out(lab: Lab) -> None:
    with WeakServer({"no-starttls"}, lab.context()) as server:
        found = probed(server, lab, "submission")
    assert "submission-starttls" in bad(found)
    assert found["submission-starttls-injection"].evidence == ("STARTTLS is not offered",)
    assert found["submission-certificate-name"].verdict == "not tested"


@pytest.mark.parametrize(("role", "first"), [("submission", False), ("submissions", True)])
def test_a_port_for_users(lab: Lab, role: Role, first: bool) -> None:
    with WeakServer((), lab.context(), users=True, tls_first=first) as server:
        found = probed(server, lab, role)
    assert bad(found) == set()
    assert found[f"{role}-auth-offered"].verdict == "good"
    with WeakServer({"mail"}, lab.context(), users=True, tls_first=first) as server:
        wrong = bad(probed(server, lab, role))
    assert wrong == (
        {f"{role}-mail-without-login"} if first else {f"{role}-mail-in-clear", f"{role}-mail-without-login"}
    )


def test_users_log_in_in_clear(lab: Lab) -> None:
    with WeakServer({"auth"}, lab.context(), users=True) as server:
        found = probed(server, lab, "submission")
    assert bad(found) == {"submission-auth-in-clear", "submission-login-in-clear"}
    assert all("valija-probe" not in line for line in found["submission-login-in-clear"].evidence)


def test_clear_text_on_465(lab: Lab) -> None:
    with WeakServer({"clear"}, lab.context(), tls_first=True) as server:
        found = probed(server, lab, "submissions")
    assert bad(found) == {"submissions-tls-first"}
    assert found["submissions-mail-without-login"].verdict == "not tested"


@pytest.mark.parametrize(("role", "verdict"), [("smtp", "warning"), ("submission", "bad")])
def test_certificates(lab: Lab, role: Role, verdict: str) -> None:
    users = role != "smtp"
    with WeakServer((), lab.context("other.example"), users=users) as server:
        found = probed(server, lab, role)
        assert found[f"{role}-certificate-name"].verdict == verdict
        assert found[f"{role}-certificate-chain"].verdict == "good"
        assert probed(server, lab, role, ca_file="")[f"{role}-certificate-chain"].verdict == verdict
    for days, dates in (((-30, -1), "bad"), ((1, 30), "bad"), ((-80, 5), "warning"), ((-1, 30), "good")):
        with WeakServer((), lab.context(days=days), users=users) as server:
            found = probed(server, lab, role)
        assert found[f"{role}-certificate-dates"].verdict == dates
        assert found[f"{role}-certificate-chain"].verdict == ("not tested" if dates == "bad" else "good")


@pytest.mark.parametrize(("role", "verdict"), [("smtp", "warning"), ("submissions", "bad")])
def test_old_tls(lab: Lab, role: Role, verdict: str) -> None:
    with WeakServer((), lab.context(floor=ssl.TLSVersion.TLSv1), tls_first=role == "submissions") as server:
        found = probed(server, lab, role)
    assert found[f"{role}-tls-1.0"].verdict == found[f"{role}-tls-1.1"].verdict == verdict
    assert found[f"{role}-cipher-anonymous"].verdict == "warning"
    assert found[f"{role}-cipher-null"].verdict == "bad"


def test_without_a_recipient_no_message_is_sent(lab: Lab) -> None:
    with WeakServer({"lone-lf", "relay"}, lab.context()) as server:
        found = probed(server, lab, recipient="")
    assert server.contents == []
    assert {each.verdict for each in found.values() if "end-of-data" in each.id} == {"not tested"}


def test_no_connection_has_many_errors(lab: Lab) -> None:
    """Servers slow down after ten, and hang up after twenty."""
    with WeakServer((), lab.context()) as server:
        probed(server, lab)
    assert server.most_errors <= FORMS_A_CONNECTION
    assert server.connections < 45


def test_nothing_answers(lab: Lab) -> None:
    with WeakServer((), lab.context()) as server:
        pass
    [only] = probed(server, lab).values()
    assert (only.id, only.verdict) == ("smtp-reachable", "not tested")


def test_time_is_bounded(lab: Lab) -> None:
    with WeakServer((), lab.context()) as server:
        [only] = probed(server, lab, deadline=0.0).values()
    assert only.evidence == ("the probe has taken long enough",)
