"""A guide that is also a test: its commands are run in the order of the page, and what it shows is true.

    steps = read(Path("docs/es/caso-5.md"))
    for step in steps:
        match step:
            case Command(): ...          # step.prompt, step.text; step.fits(output), step.complaint(output)
            case Settings(): ...         # a configuration that the server runs with from here on

Commands stand in blocks ```console, settings in blocks ```toml. A line of a console block that begins with a prompt
(`# `, `$ `, `oficina$ `) is a command, as are the lines that follow one which ends with a backslash. All other lines
are what the command before printed: all of it, from first line to last. `...` stands for anything, in a line for
some characters, alone in a line for some lines; blanks at the ends of lines and empty lines at the end don't count.
"""

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^```(console|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"([a-z]*[#$]) (.*)")
ANYTHING = "..."


@dataclass(frozen=True)
class Command:
    """A command, where it stands in the page, and what it printed there."""

    line: int
    prompt: str
    text: str
    shown: tuple[str, ...] = ()

    def fits(self, output: str) -> bool:
        """Whether what a command printed is what the page shows."""
        return _pattern(self.shown).fullmatch(_bare(output.splitlines())) is not None

    def complaint(self, output: str) -> str:
        """Return both, side by side, for people."""
        told = difflib.ndiff(list(self.shown), _bare(output.splitlines()).splitlines())
        return "\n".join([f"line {self.line}: {self.prompt} {self.text}", *told])


@dataclass(frozen=True)
class Settings:
    """A whole configuration, and where it stands in the page."""

    line: int
    text: str


Step = Command | Settings


def read(page: Path) -> list[Step]:
    """Return what a page tells to do, in order. Raises ValueError for output without a command."""
    text = page.read_text()
    steps: list[Step] = []
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 2
        steps += [Settings(line, found[2])] if found[1] == "toml" else _commands(found[2], line)
    return steps


@dataclass
class _Reading:
    line: int
    prompt: str
    command: list[str]
    shown: list[str] = field(default_factory=list)

    @property
    def goes_on(self) -> bool:
        return self.command[-1].endswith("\\") and not self.shown

    def done(self) -> Command:
        return Command(self.line, self.prompt, "\n".join(self.command), tuple(self.shown))


def _commands(block: str, first: int) -> list[Command]:
    found: list[_Reading] = []
    for number, line in enumerate(block.splitlines(), first):
        begins = _PROMPT.fullmatch(line)
        if found and found[-1].goes_on:
            found[-1].command.append(line)
        elif begins:
            found.append(_Reading(number, begins[1], [begins[2]]))
        elif found:
            found[-1].shown.append(line)
        else:
            raise ValueError(f"line {number}: {line!r} was printed by no command")
    return [each.done() for each in found]


def _pattern(shown: tuple[str, ...]) -> re.Pattern[str]:
    """Return what a whole output has to look like; each line of it ends with a line feed."""
    lines = _bare(shown).splitlines()
    return re.compile("".join("(?:.*\n)*" if line.strip() == ANYTHING else f"{_in_line(line)}\n" for line in lines))


def _in_line(line: str) -> str:
    return ".*".join(map(re.escape, line.split(ANYTHING)))


def _bare(lines: tuple[str, ...] | list[str]) -> str:
    """Return lines without the blanks that nobody sees."""
    text = "\n".join(line.rstrip() for line in lines).rstrip("\n")
    return f"{text}\n" if text else ""
