"""The life of a key: what signs, what a step makes of the others, and when a record may go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valija.policy.dkim_stages import (
    MARGIN,
    KeyStage,
    StageProblem,
    activated,
    due,
    may_go,
    retired,
    seen_queued,
    settled,
    signers,
)

OLD = KeyStage("2025a", "rsa", "signing", 100.0)
NEW = KeyStage("2026a", "rsa", "waiting", 200.0)
ED = KeyStage("2025e", "ed25519", "signing", 100.0)


def stages(keys: list[KeyStage]) -> dict[str, str]:
    return {key.selector: key.stage for key in keys}


def test_a_waiting_key_does_not_sign_until_it_is_activated() -> None:
    assert signers([OLD, NEW, ED]) == [OLD, ED]
    after = activated([OLD, NEW, ED], "2026a", 300.0)
    assert stages(after) == {"2025a": "retired", "2026a": "signing", "2025e": "signing"}
    assert {key.selector: key.since for key in after} == {"2025a": 300.0, "2026a": 300.0, "2025e": 100.0}


def test_a_retired_key_can_be_activated_again() -> None:
    after = activated(activated([OLD, NEW], "2026a", 300.0), "2025a", 400.0)
    assert stages(after) == {"2025a": "signing", "2026a": "retired"}


def test_keys_put_there_by_hand_sign_by_their_selector_and_the_others_count_as_retired() -> None:
    by_hand = [OLD, KeyStage("2025b", "rsa", "signing", 150.0)]
    assert [key.selector for key in signers(by_hand)] == ["2025b"]
    assert settled(by_hand)[0] == KeyStage("2025a", "rsa", "retired", 150.0)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (lambda keys: activated(keys, "2025a", 1.0), "signs already"),
        (lambda keys: activated(keys, "nope", 1.0), "there is no key nope"),
        (lambda keys: retired(keys, "nope", 1.0), "there is no key nope"),
        (lambda keys: retired(keys, "2025a", 1.0), "the only one that signs"),
    ],
)
def test_steps_that_cannot_be(step: object, words: str) -> None:
    assert callable(step)
    with pytest.raises(StageProblem, match=words):
        step([OLD, NEW])


def test_the_last_key_is_retired_only_where_that_is_meant() -> None:
    after = retired([OLD, NEW], "2025a", 300.0, may_be_last=True)
    assert signers(after) == []
    assert stages(retired([OLD, NEW], "2026a", 300.0)) == {"2025a": "signing", "2026a": "retired"}
    assert stages(retired([OLD, ED], "2025a", 300.0)) == {"2025a": "retired", "2025e": "signing"}
    with pytest.raises(StageProblem, match="retired already"):
        retired(after, "2025a", 400.0)


def test_a_record_may_go_a_margin_after_the_last_message() -> None:
    (gone,) = [key for key in activated([OLD, NEW], "2026a", 300.0) if key.stage == "retired"]
    assert not may_go(gone, 300.0 + MARGIN - 1)
    assert may_go(gone, 300.0 + MARGIN)
    (queued,) = seen_queued([gone], "2025a", 5000.0)
    assert not may_go(queued, 300.0 + MARGIN)
    assert may_go(queued, 5000.0 + MARGIN)
    assert not may_go(OLD, 1e12)
    assert not may_go(NEW, 1e12)


def test_a_successor_is_due_once_and_for_keys_of_the_age() -> None:
    assert due([OLD, ED], 100.0 + 90, 90.0) == ["rsa", "ed25519"]
    assert due([OLD, ED], 100.0 + 89, 90.0) == []
    assert due([OLD, NEW, ED], 1000.0, 90.0) == ["ed25519"]


keys = st.lists(
    st.builds(
        KeyStage,
        st.sampled_from("abcdef"),
        st.sampled_from(["rsa", "ed25519"]),
        st.sampled_from(["waiting", "signing", "retired"]),
        st.floats(0, 100),
    ),
    max_size=6,
    unique_by=lambda key: key.selector,
)


@given(keys, st.sampled_from("abcdefx"))
def test_there_is_never_more_than_one_signer_of_a_kind_and_none_is_lost(held: list[KeyStage], selector: str) -> None:
    kinds = {key.kind for key in signers(held)}
    try:
        after = activated(held, selector, 200.0)
    except StageProblem:
        return
    signing = [key for key in after if key.stage == "signing"]
    assert len({key.kind for key in signing}) == len(signing)
    assert {key.kind for key in signing} >= kinds
    assert selector in {key.selector for key in signing}
    assert [key.selector for key in after] == [key.selector for key in held]
