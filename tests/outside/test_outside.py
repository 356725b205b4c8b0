"""What runs the tests of others, tried on a dialogue and a program of our own."""

import io
import re
from pathlib import Path

import pytest

from tests.outside.__main__ import USER, run
from tests.outside.chasquid import differs, value_of
from tests.outside.differences import DIFFERENCES

DIALOGUE = f"""
# in a line that is not empty
c tcp_connect localhost:1025
c <~ 220
c -> EHLO localhost
c <... 250 HELP
c -> MAIL FROM: <>
c <~ 250
c -> RCPT TO: {USER}
c <~ 250
c -> DATA
c <~ 354
c -> Subject: x
c ->
c -> ..dot
c ~> 'b' * 3 + '\\r\\n'
c -> .
c <~ 250
c close
c tls_connect localhost:1465
c <~ 220
c -> NOOP
c <- 250 whatever it says
c -> QUIT
c <- {{goodbye}} whatever it says
"""
PROGRAM = """
import sys
if "--list-tests" in sys.argv:
    print('"good:": x')
    print('"bad:": y')
else:
    print("It appears x was accepted (bad!)" if sys.argv[-1] == "bad" else "Received timeout")
"""


def checkouts(folder: Path, goodbye: str) -> tuple[Path, Path]:
    dialogues = folder / "test/t-12-minor_dialogs"
    dialogues.mkdir(parents=True)
    (dialogues / "own.cmy").write_text(DIALOGUE.format(goodbye=goodbye))
    (dialogues / "own.cmy.verify").write_text("Subject: x\n\n.dot\nbbb\n")
    (folder / "smtpsmug").write_text(PROGRAM)
    return folder, folder


def test_they_are_run_and_told_of(tmp_path: Path) -> None:
    out = io.StringIO()
    assert run(*checkouts(tmp_path, "500"), out) == 2
    told = out.getvalue()
    assert "FAIL  chasquid own\n      line 25: expected '500 whatever it says', the server said '221 2.0.0" in told
    assert "on purpose: an address without angle brackets" in told
    assert "pass  smtpsmug good\nFAIL  smtpsmug bad\n      It appears x was accepted (bad!)" in told


def test_what_was_delivered_is_looked_at(tmp_path: Path) -> None:
    out = io.StringIO()
    assert run(checkouts(tmp_path, "221")[0], None, out) == 0, out.getvalue()
    assert differs("Subject: x\n\nbody\n", b"Received: z\nSubject: x\n\nbody\n") == ""
    assert differs("Subject: x\n\nbody\n", b"Subject: x\n\nmore body\n").startswith("the body is")
    assert differs("Subject: x\n\nbody\n", b"Subject: y\n\nbody\n").startswith("Subject is")


def test_expressions_are_read_and_not_run() -> None:
    assert value_of("('a' * 3 + '\\r\\n') * 2") == "aaa\r\naaa\r\n"
    for expression in ("open('x').read()", "__import__('os')", "1 + 2j", "3"):
        with pytest.raises(ValueError, match="string"):
            value_of(expression)


def test_the_page_tells_each_difference() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "cases.md").read_text(encoding="utf-8")
    for _, there, here in DIFFERENCES:
        assert re.search(rf"^\| {there} [^|]*\| [^|]*\b{here}\b", page, re.MULTILINE), (there, here)


def test_a_folder_that_is_no_checkout_is_named(tmp_path: Path) -> None:
    for dialogues, program in ((tmp_path, None), (None, tmp_path)):
        with pytest.raises(FileNotFoundError, match=str(tmp_path)):
            run(dialogues, program, io.StringIO())
