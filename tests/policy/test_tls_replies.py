"""What recipients are told where TLS did not come about: which rung failed, and who asked for it."""

import pytest

from valija.mail.reply import Reply
from valija.policy import tls_replies
from valija.policy.tls import TlsPolicy
from valija.policy.tls_ladders import TlsSource


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("configured", "configured here"),
        ("login", "a password is to be sent"),
        ("dane", "TLSA records of the host"),
        ("mta-sts", "MTA-STS policy of remote.example"),
        ("requiretls", "REQUIRETLS of the sender"),
    ],
)
def test_who_asked(source: TlsSource, words: str) -> None:
    policy = TlsPolicy("verify", source, next_hop="remote.example")
    reply = tls_replies.not_offered("mx1.remote.example", policy)
    assert str(reply) == f"454 4.7.4 TLS is required ({words}), but was not offered by mx1.remote.example"


def test_failures_are_transient_but_for_what_the_standard_says() -> None:
    policy = TlsPolicy("encrypt", "configured")
    refusal = Reply(554, "5.7.0", "no TLS for you")
    for reply, enhanced in (
        (tls_replies.not_offered("h", policy), "4.7.4"),
        (tls_replies.refused("h", policy, refusal), "4.7.4"),
        (tls_replies.failed("h", policy, "x"), "4.7.5"),
        (tls_replies.not_proved("h", policy, "x"), "4.7.5"),
    ):
        assert reply.is_transient
        assert reply.enhanced == enhanced
    assert tls_replies.not_announced("h").is_permanent
