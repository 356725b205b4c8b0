"""The policy of our own domains: what is served, and the record that goes with it, as senders read them."""

from hypothesis import given
from hypothesis import strategies as st

from valija.policy.mta_sts import Mode, parse_policy, policy_id
from valija.policy.mta_sts_own import policy_record, policy_text

HOSTS = st.lists(st.from_regex(r"(\*\.)?[a-z]{1,8}\.example\.org", fullmatch=True), min_size=1, max_size=5, unique=True)


def test_the_text_is_that_of_the_standard() -> None:
    text = policy_text("enforce", ["mail.example.org", "*.example.net"], 86400)
    assert text == "version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmx: *.example.net\r\nmax_age: 86400\r\n"


@given(st.sampled_from(("enforce", "testing", "none")), HOSTS, st.integers(0, 31_557_600))
def test_senders_read_what_was_written(mode: Mode, hosts: list[str], max_age: int) -> None:
    text = policy_text(mode, hosts, max_age)
    read = parse_policy(text.encode())
    assert (read.mode, read.mx, read.max_age) == (mode, tuple(hosts), max_age)
    assert policy_id([policy_record(text)])


def test_another_policy_has_another_id() -> None:
    texts = [policy_text(mode, ["a.example"], age) for mode in ("enforce", "testing", "none") for age in (60, 61)]
    assert len({policy_record(text) for text in texts}) == len(texts)
    assert policy_record(texts[0]) == policy_record(texts[0])
