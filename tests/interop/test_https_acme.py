"""HTTPS with certificates of the real pebble: a domain's names are proven and served, and the key stays (RFC 8555)."""

import json
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.live import HOST, LiveServer
from tests.pebble import MISSING, LivePebble
from tests.ports import free_port

pytestmark = [pytest.mark.interop, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

NAMES = ["mta-sts.example.org", "autoconfig.example.org", "autodiscover.example.org"]


def curl(url: str, port: int, root: Path) -> str:
    """Return what is served to whoever trusts pebble's root, "" where it is not to be had yet."""
    host = url.partition("/")[0]
    command = ["curl", "-s", "--fail", "-m", "5", "--cacert", str(root), "--resolve", f"{host}:{port}:{HOST}"]
    at_port = f"https://{url.replace(host, f'{host}:{port}', 1)}"
    return subprocess.run([*command, at_port], capture_output=True, text=True, check=False, timeout=20).stdout


def until(condition: Callable[[], bool]) -> None:
    """Wait for what the server's other process takes up by looking every second or two."""
    for _ in range(60):
        if condition():
            return
        subprocess.run(["sleep", "0.25"], check=True)
    raise AssertionError("not in time")


def tlsa(server: LiveServer) -> list[str]:
    done = server.valija("dns", "--json")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["records"]
    return [row["value"] for row in rows if row["type"] == "TLSA"]


def leaf(port: int) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((HOST, port)) as raw, context.wrap_socket(raw) as client:
        return client.getpeercert(binary_form=True) or b""


def test_names_are_proven_served_and_their_key_stays(tmp_path: Path) -> None:
    port = free_port()
    with LivePebble() as pebble:
        root = tmp_path / "root.pem"
        root.write_bytes(pebble.root_pem())
        own = {"certificate": "acme", "acme_reuse_key": True, **pebble.settings}
        more = {"certificate": "acme", "names": NAMES}
        settings = {
            "tls": {**own, "certificates": [more]},
            "https": {"listen": [f"{HOST}:{port}"]},
            "autoconfig": {"imap_host": "imap.example.org"},
            "dns": {"nameservers": ["127.0.0.1:9"]},
        }
        with LiveServer(settings) as server:
            until(lambda: "mode: testing" in curl("mta-sts.example.org/.well-known/mta-sts.txt", port, root))
            until(lambda: "imap.example.org" in curl("autoconfig.example.org/mail/config-v1.1.xml", port, root))
            before, first = tlsa(server), leaf(server.submissions)
            assert before
            assert server.valija("certificate", "renew", "--force").returncode == 0
            assert leaf(server.submissions) != first
            assert tlsa(server) == before
