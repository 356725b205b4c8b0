"""How many sessions a worker takes."""

import resource
from pathlib import Path

import pytest

from valija import capacity
from valija.capacity import memory, session_limit

GIB = 1024**3


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65_536, 65_536))
    monkeypatch.setattr(capacity, "memory", lambda: 4 * GIB)


@pytest.mark.usefixtures("machine")
def test_memory_bounds_them_and_port_25_leaves_room_for_users() -> None:
    limits = [session_limit(role, workers=2) for role in ("smtpd", "submission", "submissions")]
    assert limits == [2048, 1024, 1024]
    assert 2 * sum(limits) * capacity.SESSION_MEMORY == GIB


@pytest.mark.usefixtures("machine")
def test_descriptors_bound_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert session_limit("smtpd", workers=1) == 288


@pytest.mark.parametrize(("written", "octets"), [("536870912\n", 512 * 1024**2), ("max\n", None), (None, None)])
def test_a_container_may_have_less_than_the_machine(tmp_path: Path, written: str | None, octets: int | None) -> None:
    limit = tmp_path / "memory.max"
    if written is not None:
        limit.write_text(written)
    installed = memory(tmp_path / "missing")
    assert installed > 64 * 1024**2
    assert memory(limit) == min(installed, octets or installed)
