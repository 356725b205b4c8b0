"""The catching sink tells truly what came: other tests believe it."""

import smtplib
import ssl
from pathlib import Path

from tests.ca import CertificateAuthority
from tests.live import HOST, message
from tests.sink import CatchingSink


def test_catches_in_clear(sink: CatchingSink) -> None:
    with smtplib.SMTP(HOST, sink.port) as client:
        client.sendmail("a@example.org", ["b@example.net", "c@example.net"], b"Subject: dots\r\n\r\n.\r\n..x\r\n")
    caught = sink.wait_for(1)[0]
    assert (caught.reverse_path, caught.recipients) == ("a@example.org", ("b@example.net", "c@example.net"))
    assert caught.content == b"Subject: dots\r\n\r\n.\r\n..x\r\n"
    assert caught.field("subject") == "dots"
    assert caught.tls is None


def test_catches_encrypted(tmp_path: Path) -> None:
    authority = CertificateAuthority()
    pair = authority.issue("localhost").write(tmp_path)
    with CatchingSink(pair) as sink, smtplib.SMTP("localhost", sink.port) as client:
        client.starttls(context=ssl.create_default_context(cadata=authority.pem.decode()))
        client.send_message(message("one"))
        client.send_message(message("two"))
        assert [caught.field("Subject") for caught in sink.wait_for(2)] == ["one", "two"]
        assert sink.caught[0].tls == "TLSv1.3"
