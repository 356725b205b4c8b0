"""valija alias."""

import pytest

from tests.cli.here import Here


def test_an_alias_grows_shrinks_and_goes(here: Here) -> None:
    first = here.json("alias", "add", "sales@example.org", "a@example.org")
    assert first == {"address": "sales@example.org", "targets": ["a@example.org"]}
    here.json("alias", "add", "Sales@example.org", "b@example.net", "c@example.net")
    assert here.json("alias", "list") == [
        {"address": "sales@example.org", "targets": ["a@example.org", "b@example.net", "c@example.net"]}
    ]
    fewer = here.json("alias", "remove", "sales@example.org", "a@example.org", "c@example.net")
    assert fewer == {"address": "sales@example.org", "targets": ["b@example.net"]}
    assert here.run("alias", "list", "sales@example.org").stdout == "sales@example.org -> b@example.net\n"
    assert here.run("alias", "remove", "sales@example.org").stdout == "sales@example.org is no alias any more\n"
    assert here.json("alias", "list") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "sales@example.org", "nowhere"), "'nowhere' is no mail address"),
        (("add", "sales@example.org", "sales@example.org"), "lead back to itself"),
        (("remove", "sales@example.org"), "there is no alias sales@example.org"),
        (("list", "sales@example.org"), "there is no alias sales@example.org"),
        (("list", "sales"), "no mail address"),
    ],
)
def test_what_is_refused(here: Here, arguments: tuple[str, ...], words: str) -> None:
    assert words in here.refused("alias", *arguments)


def test_an_alias_without_targets_is_wrong_usage(here: Here) -> None:
    assert here.run("alias", "add", "sales@example.org").exit_code == 2
