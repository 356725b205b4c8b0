"""How long --fuzz goes on."""

import re

import pytest

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


@pytest.fixture
def fuzz_seconds(request: pytest.FixtureRequest) -> float:
    """Return for how many seconds inputs are made, over all targets."""
    written = str(request.config.getoption("--fuzz"))
    match = re.fullmatch(r"([0-9]+)([smhd]?)", written)
    if match is None:
        pytest.fail(f"--fuzz {written}: write a number with s, m, h or d")
    return float(match[1]) * _UNITS[match[2]]
