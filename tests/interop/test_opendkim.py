"""The real opendkim: it verifies what is signed here, and what it signs verifies here."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.content.dkim_world import HEADER, KINDS, key, pem, results, signed
from tests.content.test_dkim import BODIES, CRAFTED
from valija.content.dkim_key import Kind, dns_record

PROGRAM = shutil.which("opendkim", path=f"{os.environ['PATH']}:/usr/sbin") or ""
pytestmark = [pytest.mark.interop, pytest.mark.skipif(not PROGRAM, reason="opendkim is not installed")]

_HEADER = re.compile(r"### INSHEADER: idx=\d+ hname='([^']*)' hvalue='(.*?)'\n", re.DOTALL)


def opendkim(folder: Path, message: bytes, *settings: str) -> dict[str, str]:
    """Have opendkim look at a message in its test mode; return the fields it would add."""
    (folder / "message.eml").write_bytes(message)
    (folder / "keys").write_text("".join(f"{name} {value}\n" for name, value in (dns_record(key(k)) for k in KINDS)))
    (folder / "opendkim.conf").write_text("\n".join([f"TestPublicKeys {folder}/keys", *settings, ""]))
    command = [PROGRAM, "-vv", "-x", str(folder / "opendkim.conf"), "-t", str(folder / "message.eml")]
    told = subprocess.run(command, capture_output=True, check=False, timeout=30)
    return dict(_HEADER.findall(told.stdout.decode("utf-8", "surrogateescape")))


def verdicts(folder: Path, message: bytes) -> dict[str, str]:
    """Return what opendkim finds, by algorithm."""
    found = opendkim(folder, message, "Mode v")["Authentication-Results"]
    return {algorithm: verdict for verdict, algorithm in re.findall(r"dkim=(\w+)[^;]*header\.a=([\w-]+)", found)}


BOTH_PASS = {"rsa-sha256": "pass", "ed25519-sha256": "pass"}
BOTH_FAIL = {"rsa-sha256": "fail", "ed25519-sha256": "fail"}


# Its test mode reads text: octets that are no UTF-8 are fine, a last line without its end is not.
@pytest.mark.parametrize("name", sorted(BODIES.keys() - {"no last line end"}))
def test_our_signatures_verify(tmp_path: Path, name: str) -> None:
    assert verdicts(tmp_path, signed(HEADER, BODIES[name], key(), key("ed25519"))) == BOTH_PASS


@pytest.mark.parametrize("length", [998, 999, 1000, 5000])
def test_c026_long_lines(tmp_path: Path, length: int) -> None:
    assert verdicts(tmp_path, signed(HEADER, b"x" * length + b"\r\n", key(), key("ed25519"))) == BOTH_PASS


def test_c122_folds_8_bit_and_what_is_put_on_top(tmp_path: Path) -> None:
    message = signed(CRAFTED, b"body\r\n", key(), key("ed25519"))
    assert verdicts(tmp_path, message) == BOTH_PASS
    for forged in (b"Subject: forged\r\n", b"From: forged@evil.example\r\n", b"Reply-To: x@evil.example\r\n"):
        assert verdicts(tmp_path, forged + message) == BOTH_FAIL
    assert verdicts(tmp_path, message + b"more\r\n") == BOTH_FAIL


FORMS = [(kind, header, body) for kind in KINDS for header in ("simple", "relaxed") for body in ("simple", "relaxed")]
# It does not verify its own Ed25519 signatures where the header is in simple form.
SOUND = [each for each in FORMS if each[:2] != ("ed25519", "simple")]


@pytest.mark.parametrize(("kind", "header", "form"), SOUND)
@pytest.mark.parametrize("body", ["plain", "only empty lines", "blanks at line ends", "dots"])
def test_what_opendkim_signs_verifies(tmp_path: Path, kind: Kind, header: str, form: str, body: str) -> None:
    (tmp_path / "key.pem").write_bytes(pem(kind))
    (tmp_path / "key.pem").chmod(0o600)
    # Its test mode writes one blank behind each colon, which the simple form sees.
    message = (HEADER if header == "simple" else CRAFTED) + b"\r\n" + BODIES[body]
    settings = (
        "Mode s",
        "Domain local.example",
        f"Selector s-{kind}",
        f"KeyFile {tmp_path}/key.pem",
        f"Canonicalization {header}/{form}",
        f"SignatureAlgorithm {kind}-sha256",
        "OversignHeaders From",
        "RequireSafeKeys no",  # the folder of temporary files is everybody's
    )
    value = opendkim(tmp_path, message, *settings)["DKIM-Signature"]
    field = b"DKIM-Signature: " + value.encode().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n"
    (result,) = results(field + message, now=float(re.findall(r"t=(\d+)", value)[0]))
    assert (result.verdict, result.reason) == ("pass", "")
    assert result.algorithm == f"{kind}-sha256"
    (forged,) = results(b"From: forged@evil.example\r\n" + field + message, now=float(re.findall(r"t=(\d+)", value)[0]))
    assert forged.verdict == "fail"
