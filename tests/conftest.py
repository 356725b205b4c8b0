"""What all tests share: --soak, skips that count as failures in CI, and real servers to talk to."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

import pytest

from tests.live import LiveServer, Settings
from tests.sink import CatchingSink


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long tests too, and the counted ones for longer")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak"):
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_a_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_a_skip(report)
    return report


def _fail_a_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """In CI everything must be there, so that a green run means that everything was tried."""
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped where CI=true forbids it: {reason}"


@pytest.fixture
def sink() -> Iterator[CatchingSink]:
    """A next hop that catches what arrives in clear."""
    with CatchingSink() as sink:
        yield sink


@pytest.fixture
def live() -> Iterator[Callable[..., LiveServer]]:
    """Start real servers: `server = live({"smtp": {"relayhost": sink.relayhost}})`; a failing test shows their logs."""
    with ExitStack() as servers:

        def start(settings: Settings | None = None) -> LiveServer:
            return servers.enter_context(LiveServer(settings or {}))

        yield start
