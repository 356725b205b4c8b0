"""The command line: `bench/run` and `bench/quick` call it."""

import resource
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
import msgspec

from bench import page, quick, sandbox
from bench.machine import Machine
from bench.plot import as_svg
from bench.results import Results, Run, save
from bench.rounds import measure
from bench.servers import installed
from bench.setting import TINY, Scale, Setting, home
from bench.summary import summarise
from bench.table import as_markdown
from bench.usage import open_usage
from bench.works import WORKS
from bench.works.naming import naming


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure valija beside its peers. BENCH_HOME is the work folder."""


@main.command()
@click.argument("works", nargs=-1, type=click.Choice(list(WORKS)), metavar="[WORK]...")
@click.option("--rounds", default=3, show_default=True, help="How often everything is measured, in turns.")
@click.option("--server", "servers", multiple=True, help="Only these; several times. Default: all that are there.")
@click.option("--deep", default=Scale().deep, show_default=True, help="Deferred recipients of deep-queue.")
@click.option("--tiny", is_flag=True, help="A few dozen messages each: only to see that it works.")
@click.option("--write", is_flag=True, help="Put the results into docs/performance.md.")
def run(works: Sequence[str], *, rounds: int, servers: Sequence[str], deep: int, tiny: bool, write: bool) -> None:
    """Measure WORKs, all by default, and print the tables; they stay in BENCH_HOME, with a picture."""
    folder = _enter()
    scale = TINY if tiny else msgspec.structs.replace(Scale(), deep=deep)
    setting = Setting(folder, scale, say=_say)
    chosen = [WORKS[name] for name in works or WORKS]
    machine = Machine.here(folder)
    with open_usage() as usage:
        accounting = usage.kind
    there = installed(setting)
    missing = set(servers) - set(there)
    if missing:
        raise click.UsageError(f"not there: {', '.join(sorted(missing))}; there are {', '.join(there)}")
    runs: list[Run] = []
    with _names():
        for each in measure(setting, chosen, servers or there, rounds):
            runs.append(each)
            save(folder / "results.json", [Results(machine, accounting, runs)])
    results = Results(machine, accounting, runs)
    table = as_markdown([results])
    (folder / "results.md").write_text(table)
    (folder / "results.svg").write_text(as_svg(summarise(runs)))
    click.echo(table)
    if write:
        page.write(results)
        _say("docs/performance.md is written")


@main.command("quick")
@click.argument("revision", default="HEAD")
@click.option("--rounds", default=5, show_default=True)
@click.option("--messages", default=8000, show_default=True)
def compare(revision: str, rounds: int, messages: int) -> None:
    """Compare this working tree with a REVISION."""
    folder = _enter()
    setting = Setting(folder, Scale(messages=messages), say=_say)
    try:
        found = quick.compare(setting, revision, rounds)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    for ratio in found:
        click.echo(ratio)


def _enter() -> Path:
    """Go to a place of its own where that can be had, and make it habitable; return the work folder."""
    if sandbox.is_possible() and not sandbox.is_inside():
        sys.exit(sandbox.enter(["-m", "bench", *sys.argv[1:]]))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    folder = home()
    if sandbox.is_inside():
        sandbox.prepare(folder)
    else:
        _say("without root only valija is measured")
    _raise_limits()
    return folder


def _raise_limits() -> None:
    """Have as many descriptors as may be: ten thousand sessions need them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _names() -> AbstractContextManager[object]:
    """Answer names for the peers that ask the system's name server, in a place of its own."""
    return naming(53) if sandbox.is_inside() else nullcontext()


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """End as for Ctrl-C, once, so that everything started is stopped."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _say(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main(prog_name="bench")
