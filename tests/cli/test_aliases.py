"""valija alias."""

import pytest

from tests.cli.here import Here


def test_an_alias_grows_shrinks_and_goes(here: Here) -> None:
    here.add_user("a@example.org")
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
        (("add", "Sales@EXAMPLE.org", "sales@example.org"), "lead back to itself"),
        (("add", "nowhere", "sales@example.org"), "'nowhere' is no mail address"),
        (("remove", "sales@example.org"), "there is no alias sales@example.org"),
        (("list", "sales@example.org"), "there is no alias sales@example.org"),
        (("list", "sales"), "no mail address"),
    ],
)
def test_what_is_refused(here: Here, arguments: tuple[str, ...], words: str) -> None:
    assert words in here.refused("alias", *arguments)


def test_an_alias_without_targets_is_wrong_usage(here: Here) -> None:
    assert here.run("alias", "add", "sales@example.org").exit_code == 2


@pytest.mark.parametrize("target", ["none@example.org", "None+x@EXAMPLE.ORG.", '"no one"@example.org'])
def test_a_target_that_nobody_here_has_is_refused(here: Here, target: str) -> None:
    here.add_user("a@example.org")
    said = here.refused("alias", "add", "l3@example.org", "a@example.org", target)
    assert f"valija: {target} is hosted here, and there is neither an account nor an alias of that address" in said
    assert "valija user add" in said
    assert here.json("alias", "list") == []


@pytest.mark.parametrize(
    "target",
    ["a@example.org", "A+lists@Example.org", "other@example.org", "Postmaster@example.org", "none@example.net"],
)
def test_accounts_aliases_postmaster_and_other_domains_are_targets(here: Here, target: str) -> None:
    here.add_user("a@example.org")
    here.json("alias", "add", "other@example.org", "a@example.org")
    assert here.json("alias", "add", "sales@example.org", target)["address"] == "sales@example.org"


def test_each_dead_end_has_its_line(here: Here) -> None:
    said = here.refused("alias", "add", "sales@example.org", "x@example.org", "y@example.org", "z@example.net")
    assert [line.split()[1] for line in said.splitlines()] == ["x@example.org", "y@example.org"]


def chain(here: Here) -> None:
    """Have first lead to second, second to an account; third leads to second and elsewhere."""
    here.add_user("a@example.org")
    here.json("alias", "add", "second@example.org", "a@example.org")
    here.json("alias", "add", "first@example.org", "second@example.org")
    here.json("alias", "add", "third@example.org", "second@example.org", "z@example.net")


def test_an_account_that_goes_takes_the_aliases_that_led_there_alone(here: Here) -> None:
    chain(here)
    assert here.run("user", "remove", "a@example.org").stdout.splitlines() == [
        "a@example.org is removed",
        "the alias second@example.org led nowhere else, and is no alias any more",
        "the alias first@example.org led nowhere else, and is no alias any more",
        "the alias third@example.org leads there no more",
    ]
    assert here.json("alias", "list") == [{"address": "third@example.org", "targets": ["z@example.net"]}]


def test_an_alias_that_goes_takes_the_aliases_that_led_there_alone(here: Here) -> None:
    chain(here)
    result = here.run("alias", "remove", "second@example.org")
    assert result.stdout == "second@example.org is no alias any more\n"
    assert result.stderr.splitlines() == [
        "valija: the alias first@example.org led nowhere else, and is no alias any more",
        "valija: the alias third@example.org leads there no more",
    ]
    assert here.json("alias", "list") == [{"address": "third@example.org", "targets": ["z@example.net"]}]


def test_an_alias_of_a_domain_that_is_not_hosted_goes_alone(here: Here) -> None:
    here.run("alias", "add", "b@example.net", "c@example.net")
    here.json("alias", "add", "a@example.org", "b@example.net")
    here.run("alias", "remove", "b@example.net")
    assert here.json("alias", "list") == [{"address": "a@example.org", "targets": ["b@example.net"]}]
