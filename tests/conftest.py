"""What all tests share: --soak, --proof, --fuzz, skips that count as failures in CI, and real servers to talk to."""

import os
import platform
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from tests.live import LiveServer, Settings, service_user
from tests.sink import CatchingSink
from tests.tally import AREAS, NEVER, PAGE, Count, Tally, page

LONGEST = ("crash", "interop", "faults", "fuzz", "cases", "https", "why", "bench")  # of tests/, by their files


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long tests too, and the counted ones for longer")
    parser.addoption("--proof", action="store_true", help="run the tests that count, and write what they counted")
    parser.addoption("--fuzz", metavar="TIME", help="make inputs for so long (90s, 20m, 2h), and run nothing else")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--soak"):
        _leave_out("soak", config, items)
    if config.getoption("--fuzz"):
        config.hook.pytest_deselected(items=[item for item in items if not item.get_closest_marker("hunt")])
        items[:] = [item for item in items if item.get_closest_marker("hunt")]
    else:
        _leave_out("hunt", config, items)
    if _nobody_cannot_read_this():
        _leave_out("drops_privileges", config, items)
    if config.getoption("--proof"):
        config.hook.pytest_deselected(items=[item for item in items if "tally" not in _fixtures(item)])
        items[:] = [item for item in items if "tally" in _fixtures(item)]
    if hasattr(config, "workerinput"):  # one of several processes, which should end together
        items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.config.getoption("--proof"):
        _write_proof(terminalreporter)
    if _nobody_cannot_read_this():
        words = "as the user nobody cannot read this checkout (one below /opt would do)"
        terminalreporter.write_line(f"left out: the tests that drop privileges, {words}")


def _write_proof(reporter: pytest.TerminalReporter) -> None:
    """Write docs/proof.md, if everything that counts has passed."""
    if reporter.stats.get("failed") or reporter.stats.get("error"):
        reporter.write_line("docs/proof.md is left as it is: a test failed")
        return
    passed: list[pytest.TestReport] = reporter.stats.get("passed", [])
    counts = [told for report in passed for told in counts_of(report)]
    measured = f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}"
    PAGE.write_text(page(counts, measured=measured))
    reporter.write_line(f"written: {PAGE}")


def counts_of(report: pytest.TestReport) -> Iterator[Count]:
    """Return what a test told, by whichever process it was run."""
    for name, told in report.user_properties:
        if name == "tally" and isinstance(told, tuple):
            area, counts = told
            yield area, report.nodeid, counts


def _nobody_cannot_read_this() -> bool:
    return os.geteuid() == 0 and service_user() == "root"


def _leave_out(marker: str, config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if item.get_closest_marker(marker)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


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


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """A command that a test runs in this process narrows it for good."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


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


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Tell what this test counted: see tests/tally."""

    def told(area: str, **counts: int) -> None:
        assert area in AREAS, f"no such area: {area}"
        assert not any(counts.get(name) for name in NEVER), counts
        request.node.user_properties.append(("tally", (area, counts)))

    return told
