"""`TLS-Required: No`: one field, one value."""

import pytest

from valija.content.tls_required import waives_tls


@pytest.mark.parametrize(
    ("header", "waives"),
    [
        (b"TLS-Required: No\r\n", True),
        (b"Subject: x\r\ntls-required:no\r\nTo: y\r\n", True),
        (b"TLS-Required:\r\n\tNO \r\n", True),
        (b"TLS-Required: Yes\r\n", False),
        (b"TLS-Required: No, really\r\n", False),
        (b"TLS-Required: No\r\nTLS-Required: No\r\n", False),
        (b"X-TLS-Required: No\r\n", False),
        (b"Subject: TLS-Required: No\r\n", False),
        (b"Subject: x\r\n TLS-Required: No\r\n", False),
        (b"", False),
    ],
)
def test_one_field_one_value(header: bytes, waives: bool) -> None:
    assert waives_tls(header) is waives
