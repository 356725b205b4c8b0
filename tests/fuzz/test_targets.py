"""Every target keeps its rules: for all of its corpus, for what is made of it, and for hours with --fuzz."""

import secrets
from pathlib import Path

import pytest

from tests.fuzz.engine import Target, hunt, inputs, tried
from tests.fuzz.targets import TARGETS
from tests.tally import Tally

CORPUS = Path(__file__).parent / "corpus"
INPUTS = 6000  # of a target whose cost is 1
SOAK = 40  # times as many with --soak


def seeds_of(target: Target) -> dict[str, bytes]:
    """Return the inputs that mutations begin with, by what they are called in a complaint."""
    seeds = {path.name: path.read_bytes() for path in sorted((CORPUS / target.name).iterdir())}
    return seeds | {f"seed {number}": octets for number, octets in enumerate(target.more_seeds())}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TARGETS)
def test_rules_hold(name: str, tally: Tally, request: pytest.FixtureRequest) -> None:
    target = TARGETS[name]
    seeds = seeds_of(target)
    for given, octets in seeds.items():
        _try(target, octets, given)
    count = max(INPUTS // target.cost, 60) * (SOAK if request.config.getoption("--soak") else 1)
    for octets in inputs(target, list(seeds.values()), count=count, seed=1):
        _try(target, octets, repr(octets))
    tally("fuzzing", seeds=len(seeds), inputs=count, crashed=0)


def _try(target: Target, octets: bytes, given: str) -> None:
    try:
        tried(target, octets)
    except Exception as fault:
        fault.add_note(f"by the input {given}")
        raise


@pytest.mark.hunt
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", TARGETS)
def test_hunt(name: str, fuzz_seconds: float, tally: Tally) -> None:
    target, seed = TARGETS[name], secrets.randbits(32)
    seeds = list(seeds_of(target).values())
    count, failed = hunt(target, seeds, seconds=fuzz_seconds / len(TARGETS), seed=seed, keep=CORPUS / name)
    assert not failed, f"of {count} inputs, seed {seed}: {', '.join(map(str, failed))}; each is a test from now on"
    tally("fuzzing", inputs=count, crashed=0)


def test_each_target_has_a_corpus_and_each_corpus_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert all(path.stat().st_size <= 16_384 for path in CORPUS.glob("*/*"))
