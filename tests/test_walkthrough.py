"""The reader of walk-throughs: what it takes for a command, and what it lets pass as what a command printed."""

from pathlib import Path

import pytest

from tests.walkthrough import Command, Settings, read

PAGE = """\
Text.

```console
# first --now
one
...
$ second \\
    --more
```

```toml
user = "valija"
```

```console
oficina$ third
```

```sh
not run
```
"""


def test_what_a_page_tells_to_do(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert read(page) == [
        Command(4, "#", "first --now", ("one", "...")),
        Command(7, "$", "second \\\n    --more"),
        Settings(12, 'user = "valija"\n'),
        Command(16, "oficina$", "third"),
    ]


def test_output_of_no_command(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\nprinted\n# command\n```\n")
    with pytest.raises(ValueError, match="line 2: 'printed'"):
        read(page)


def shown(*lines: str) -> Command:
    return Command(1, "#", "command", lines)


@pytest.mark.parametrize(
    ("command", "output"),
    [
        (shown(), ""),
        (shown(), "\n"),
        (shown("one", "two"), "one\ntwo\n"),
        (shown("one", "two"), "one   \ntwo"),
        (shown("one", "...", "four"), "one\ntwo\nthree\nfour\n"),
        (shown("one", "...", "two"), "one\ntwo\n"),
        (shown("..."), ""),
        (shown("...", "two", "..."), "one\ntwo\n"),
        (shown("queued as ..."), "queued as bmmprhqf7zzk3\n"),
        (shown("<** 554 ... denied"), "<** 554 5.7.1 <bob@example.net>: Relay access denied\n"),
    ],
)
def test_what_fits(command: Command, output: str) -> None:
    assert command.fits(output)


@pytest.mark.parametrize(
    ("command", "output"),
    [
        (shown(), "a surprise\n"),
        (shown("one"), ""),
        (shown("one"), "one\ntwo\n"),
        (shown("two"), "one\ntwo\n"),
        (shown("one", "three"), "one\ntwo\nthree\n"),
        (shown("two", "...", "one"), "one\ntwo\n"),
        (shown("250 ... queued"), "250 Ok\nqueued\n"),
        (shown("a.c"), "abc\n"),
    ],
)
def test_what_does_not(command: Command, output: str) -> None:
    assert not command.fits(output)
    assert "line 1: # command" in command.complaint(output)
