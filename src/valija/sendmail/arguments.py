"""The flags of sendmail(1) as programs pass them, read into what is wanted.

    wish = parse("sendmail", ["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"])
    wish.recipients, wish.full_name, wish.dot_ends      # ("root",), "CronDaemon", False

Flags follow getopt(3): single letters may be joined (`-ti`), a value may follow at once or as the next word, `--` ends
them, and they may stand behind recipients. What Sendmail had and nobody needs any more is read and has no effect
(ACCEPTED); what would read or write a file of the caller's choice, or start another kind of program, is refused: `-C`,
`-X`, `-bd`, and options of `-O` other than harmless ones. Web forms have been made to pass such (CVE-2016-10033).

An argument with a line break is refused wherever it stands: it would become another header field or SMTP command.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

from valija.sendmail.exits import Exit, Failure

Mode = Literal["send", "list", "talk", "flush", "aliases"]
ErrorsTo = Literal["print", "mail"]

_WITH_VALUE: Final = frozenset("ABCDFLNORVXbdefhopqr")
_OPTIONAL_VALUE: Final = frozenset("qd")  # only in the same word: -q alone flushes
ACCEPTED: Final = frozenset("ABDGLUcdhmnpx")
_HARMLESS_OPTIONS: Final = frozenset(
    {"deliverymode", "errormode", "ignoredots", "metoo", "verbose", "b", "e", "i", "m"}
)
_NAMING_FILES: Final = ("A", "H", "Q", "S")  # of -o: aliases, help, queue, statistics
_NOTIFY: Final = frozenset({"never", "success", "failure", "delay"})
_MODES: Final[dict[str, Mode]] = {"m": "send", "p": "list", "s": "talk", "i": "aliases"}
_NAMES: Final[dict[str, Mode]] = {"mailq": "list", "newaliases": "aliases"}


@dataclass
class Wish:
    """What is wanted. `sender` is None where none was given, "" for the null reverse-path.

    `dot_ends`: a line with a lone dot ends the message. `errors_to` where refusals are told besides the exit status.
    """

    mode: Mode = "send"
    recipients: list[str] = field(default_factory=list)
    from_header: bool = False
    dot_ends: bool = True
    sender: str | None = None
    full_name: str = ""
    notify: str = ""
    ret: str = ""
    envid: str = ""
    errors_to: ErrorsTo = "print"
    verbose: bool = False


def parse(name: str, arguments: list[str]) -> Wish:
    """Return what the arguments ask of a program called `name`. Raises Failure."""
    wish = Wish(mode=_NAMES.get(name, "send"))
    words = list(arguments)
    while words:
        word = words.pop(0)
        _check_line_breaks(word)
        if word == "--":
            wish.recipients += words
            for recipient in words:
                _check_line_breaks(recipient)
            break
        if word.startswith("-") and len(word) > 1:
            _read_flags(wish, word[1:], words)
        else:
            wish.recipients.append(word)
    return wish


def _check_line_breaks(word: str) -> None:
    if any(char in word for char in "\r\n\0"):
        raise Failure(Exit.USAGE, f"an argument has a line break in it: {ascii(word)[1:-1][:100]}")


def _read_flags(wish: Wish, letters: str, words: list[str]) -> None:
    while letters:
        flag, letters = letters[0], letters[1:]
        if flag not in _WITH_VALUE:
            _set(wish, flag, "")
            continue
        if not letters and flag not in _OPTIONAL_VALUE:
            if not words:
                raise Failure(Exit.USAGE, f"-{flag} needs a value")
            letters = words.pop(0)
            _check_line_breaks(letters)
        _set(wish, flag, letters)
        return


def _set(wish: Wish, flag: str, value: str) -> None:
    act = _FLAGS.get(flag)
    if act is not None:
        act(wish, value)
    elif flag not in ACCEPTED:
        raise Failure(Exit.USAGE, f"-{flag} is not known here")


def _mode(wish: Wish, value: str) -> None:
    if value[:1] in ("d", "D", "l"):
        raise Failure(Exit.USAGE, f"-b{value}: the server is started by `valija serve`, or by its unit")
    if value not in _MODES:
        raise Failure(Exit.USAGE, f"-b{value} is not known here")
    wish.mode = _MODES[value]


def _queue(wish: Wish, value: str) -> None:
    if value:
        raise Failure(Exit.USAGE, f"-q{value}: the server looks at its queue by itself; -q alone tries all now")
    wish.mode = "flush"


def _old_option(wish: Wish, value: str) -> None:
    """-o, with a letter and perhaps a value; letters that are not known have no effect, as with Postfix."""
    if value == "i":
        wish.dot_ends = False
    elif value.startswith("e"):
        _errors(wish, value[1:])
    elif value[:1] in _NAMING_FILES:
        raise Failure(Exit.USAGE, f"-o{value} is refused: no file is named on the command line here")


def _errors(wish: Wish, value: str) -> None:
    wish.errors_to = "mail" if value in ("m", "e", "w") else "print"


def _option(wish: Wish, value: str) -> None:
    name, _, given = value.partition("=")
    if name.strip().lower() not in _HARMLESS_OPTIONS:
        raise Failure(Exit.USAGE, f"-O {name}: this option is refused here")
    if name.strip().lower() == "ignoredots" and given[:1].lower() in ("t", "1", "y"):
        wish.dot_ends = False


def _notification(wish: Wish, value: str) -> None:
    words = [word.strip().lower() for word in value.split(",")]
    if not set(words) <= _NOTIFY or ("never" in words and len(words) > 1):
        raise Failure(Exit.USAGE, f"-N {value}: write never, or some of success,failure,delay")
    wish.notify = ",".join(words).upper()


def _returned(wish: Wish, value: str) -> None:
    if value.lower() not in ("hdrs", "full"):
        raise Failure(Exit.USAGE, f"-R {value}: write hdrs or full")
    wish.ret = value.upper()


def _envid(wish: Wish, value: str) -> None:
    if not value or len(value) > 50 or not value.isascii() or not value.isprintable():
        raise Failure(Exit.USAGE, f"-V {value[:60]}: write up to 50 characters of ASCII")
    wish.envid = value


def _sender(wish: Wish, value: str) -> None:
    wish.sender = value


def _full_name(wish: Wish, value: str) -> None:
    wish.full_name = value


def _recipients_from_header(wish: Wish, _: str) -> None:
    wish.from_header = True


def _ignore_dots(wish: Wish, _: str) -> None:
    wish.dot_ends = False


def _aliases(wish: Wish, _: str) -> None:
    wish.mode = "aliases"


def _verbose(wish: Wish, _: str) -> None:
    wish.verbose = True


def _named_file(flag: str, _: Wish, value: str) -> None:
    raise Failure(Exit.USAGE, f"-{flag} {value[:100]} is refused: no file is named on the command line here")


_FLAGS: Final[Mapping[str, Callable[[Wish, str], None]]] = {
    "C": partial(_named_file, "C"),
    "F": _full_name,
    "I": _aliases,
    "N": _notification,
    "O": _option,
    "R": _returned,
    "V": _envid,
    "X": partial(_named_file, "X"),
    "b": _mode,
    "e": _errors,
    "f": _sender,
    "i": _ignore_dots,
    "o": _old_option,
    "q": _queue,
    "r": _sender,
    "t": _recipients_from_header,
    "v": _verbose,
}
