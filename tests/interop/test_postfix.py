"""Postfix and valija hand each other mail, and what each writes into the Received field proves how it went."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ca import CertificateAuthority
from tests.interop.postfix import DOMAIN, Postfix, need_postfix, wait_for_mail
from tests.live import LiveServer, message

pytestmark = pytest.mark.interop

Live = Callable[..., LiveServer]


@pytest.fixture(autouse=True)
def _postfix_is_here() -> None:
    need_postfix()


def _received(content: bytes) -> list[str]:
    """Return the Received fields, unfolded, the last hop's first."""
    head = content.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode()
    return [re.sub(r"\s+", " ", field) for field in re.findall(r"(?m)^Received: (.*(?:\n[ \t].*)*)", head)]


def _relaying_to(postfix: Postfix, **smtp: str) -> dict[str, dict[str, str]]:
    return {"smtp": {"relayhost": postfix.relayhost, **smtp}}


def test_postfix_delivers_over_starttls(live: Live) -> None:
    server = live()
    server.add_user("alice@example.org", "secret")
    settings = {"relayhost": f"[127.0.0.1]:{server.smtpd}", "smtp_tls_security_level": "encrypt"}
    with Postfix(settings) as postfix:
        postfix.send("bob@postfix.example", "alice@example.org", message("hello", "bob@postfix.example"))
        content = wait_for_mail(server.data_dir / "mail" / "example.org" / "alice" / "new")
        assert "Untrusted TLS connection established to 127.0.0.1" in postfix.log_text
    ours, theirs = _received(content)
    assert re.search(r"^from mx\.postfix\.example .* by mail\.example\.org .*with ESMTPS", ours), ours
    assert "by mx.postfix.example (Postfix)" in theirs
    assert content.startswith(b"Return-Path: <bob@postfix.example>\n")
    server.wait_for_log(r"accepted .*role=smtpd .*protocol=ESMTPS tls_version=TLSv1\.3")


@pytest.mark.parametrize("offered", ["starttls", "clear"])
def test_valija_delivers_to_postfix(live: Live, tmp_path: Path, offered: str) -> None:
    chain, key = CertificateAuthority().issue("mx.postfix.example").write(tmp_path)
    tls = {
        "smtpd_tls_security_level": "may" if offered == "starttls" else "none",
        "smtpd_tls_chain_files": f"{key} {chain}",
    }
    with Postfix(tls) as postfix:
        server = live(_relaying_to(postfix))
        server.add_user("alice@example.org", "secret")
        server.submit("alice@example.org", "secret", f"bob@{DOMAIN}", message("hello"))
        content = postfix.wait_for_mail()
    theirs, ours = _received(content)
    assert re.search(r"by mail\.example\.org .*with ESMTPSA", ours), ours
    if offered == "starttls":
        assert re.search(r"\(using TLSv1\.3 with cipher .* by mx\.postfix\.example \(Postfix\) with ESMTPS", theirs)
        server.wait_for_log("outcome=delivered .*tls=encrypted tls_version=TLSv1.3")
    else:
        assert " with ESMTP id " in theirs
        assert "TLS" not in theirs
        server.wait_for_log("outcome=delivered .*tls=none")


def test_encrypt_defers_where_postfix_offers_no_tls(live: Live) -> None:
    with Postfix({"smtpd_tls_security_level": "none"}) as postfix:
        server = live(_relaying_to(postfix, tls_security_level="encrypt"))
        server.add_user("alice@example.org", "secret")
        server.submit("alice@example.org", "secret", f"bob@{DOMAIN}", message("hello"))
        server.wait_for_log("outcome=deferred")
        queued = server.queue()
    assert [recipient["address"] for each in queued for recipient in each["recipients"]] == [f"bob@{DOMAIN}"]
    assert re.search("4\\.7\\.|TLS", queued[0]["recipients"][0]["last_reply"])
