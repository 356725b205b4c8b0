"""What a reply means for its reader."""

import pytest

from tests.content.reports import delayed, expired, failed
from valija.content.reported import Reported, ReportKind
from valija.content.trouble import Trouble, trouble_of
from valija.mail.reply import Reply


@pytest.mark.parametrize(
    ("code", "enhanced", "trouble"),
    [
        (550, "5.1.1", Trouble.NO_SUCH_USER),
        (550, "5.1.2", Trouble.NO_SUCH_DOMAIN),
        (553, "5.1.3", Trouble.BAD_ADDRESS),
        (550, "5.1.6", Trouble.MOVED),
        (550, "5.1.8", Trouble.OWN_ADDRESS),
        (556, "5.1.10", Trouble.NULL_MX),
        (550, "5.2.1", Trouble.MAILBOX_CLOSED),
        (552, "5.2.2", Trouble.MAILBOX_FULL),
        (552, "5.2.3", Trouble.TOO_LARGE),
        (552, "5.3.4", Trouble.TOO_LARGE),
        (554, "5.3.2", Trouble.THEIR_SERVER),
        (554, "5.4.6", Trouble.LOOP),
        (550, "5.4.4", Trouble.UNREACHABLE),
        (550, "5.5.3", Trouble.TOO_MANY),
        (503, "5.5.1", Trouble.PROTOCOL),
        (550, "5.6.7", Trouble.SCRIPT),
        (554, "5.6.0", Trouble.CONTENT),
        (550, "5.7.1", Trouble.POLICY),
        (535, "5.7.8", Trouble.LOGIN),
        (550, "5.7.26", Trouble.UNPROVEN_SENDER),
        (550, "5.7.30", Trouble.TLS_BY_SENDER),
        (550, "5.99.99", Trouble.UNKNOWN),
        (550, "", Trouble.UNKNOWN),
        (550, "4.2.2", Trouble.UNKNOWN),  # contradictory: the first digit decides, and nothing is read into the rest
        (451, "4.7.1", Trouble.PUT_OFF),
        (421, "", Trouble.PUT_OFF),
        (452, "4.2.2", Trouble.MAILBOX_FULL),
        (451, "4.3.0", Trouble.THEIR_SERVER),
        (451, "4.4.2", Trouble.UNREACHABLE),
    ],
)
def test_the_code_that_a_peer_gives_decides(code: int, enhanced: str, trouble: Trouble) -> None:
    assert trouble_of(ReportKind.FAILURE, failed(reply=Reply(code, enhanced, "words"))) is trouble


@pytest.mark.parametrize(
    ("code", "enhanced", "source", "trouble"),
    [
        (454, "4.7.4", "configured", Trouble.TLS_BY_SETTING),
        (454, "4.7.5", "", Trouble.TLS_BY_SETTING),
        (454, "4.7.5", "dane", Trouble.TLS_BY_DOMAIN),
        (454, "4.7.5", "mta-sts", Trouble.TLS_BY_DOMAIN),
        (454, "4.7.5", "requiretls", Trouble.TLS_BY_SENDER),
        (451, "4.7.10", "requiretls", Trouble.TLS_BY_SENDER),
        (550, "5.7.30", "requiretls", Trouble.TLS_BY_SENDER),
        (550, "5.4.7", "", Trouble.DEADLINE),
        (550, "5.3.3", "", Trouble.NO_DEADLINE),
        (552, "5.3.4", "", Trouble.TOO_LARGE),
        (550, "5.7.1", "", Trouble.BARRED),
        (451, "4.7.0", "", Trouble.LOGIN),
        (451, "4.3.0", "", Trouble.OUR_SERVER),
        (451, "4.4.3", "", Trouble.UNREACHABLE),
        (451, "", "", Trouble.OUR_SERVER),
        (550, "5.1.2", "", Trouble.NO_SUCH_DOMAIN),
    ],
)
def test_our_own_words_are_known(code: int, enhanced: str, source: str, trouble: Trouble) -> None:
    one = failed(reply=Reply(code, enhanced, "words"), remote="", tls_source=source)
    assert trouble_of(ReportKind.FAILURE, one) is trouble


@pytest.mark.parametrize(
    ("kind", "one", "trouble"),
    [
        (ReportKind.FAILURE, expired(Reply(554, "5.3.2", "No service")), Trouble.THEIR_SERVER),
        (ReportKind.FAILURE, expired(Reply(550, "5.7.1", "Later")), Trouble.PUT_OFF),
        (ReportKind.DELAY, delayed(), Trouble.PUT_OFF),
        (ReportKind.DELAY, delayed(Reply(452, "4.2.2", "full")), Trouble.MAILBOX_FULL),
        (ReportKind.FAILURE, failed(deadline_passed=True), Trouble.DEADLINE),
    ],
)
def test_what_was_tried_again_and_again_was_put_off(kind: ReportKind, one: Reported, trouble: Trouble) -> None:
    assert trouble_of(kind, one) is trouble
