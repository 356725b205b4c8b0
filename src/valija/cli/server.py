"""valija status and valija reload: speak to the running server."""

from typing import Any, cast

import click

from valija.cli.frame import Call, Refusal, command, rfc3339


def add_to(main: click.Group) -> None:
    """Add the commands."""

    @command(main, "status")
    def status(call: Call) -> None:
        """Tell how the running server is."""
        answer = cast("dict[str, Any]", _ask(call, "status"))
        for each in (answer, *answer["workers"]):
            each["since"] = rfc3339(each["since"])
        call.answer(answer, _lines(answer))

    @command(main, "reload")
    def reload(call: Call) -> None:
        """Have the running server read its configuration again; on any fault it keeps the old one."""
        call.load()
        _ask(call, "reload")
        call.answer({"reloaded": True}, ["the new configuration is in force"])


def _ask(call: Call, name: str) -> object:
    from valija.admin.control import SOCKET_NAME, NotRunning, request

    config = call.load()
    try:
        return request(config.data_dir / SOCKET_NAME, name)
    except NotRunning:
        raise Refusal(f"no server is running on {config.data_dir}; start it with valija serve") from None


def _lines(status: dict[str, Any]) -> list[str]:
    lines = [f"valija {status['version']}, process {status['pid']}, since {status['since']}"]
    for role, endpoints in status["listening"].items():
        lines.append(f"{role}: {', '.join(endpoints) or 'off'}")
    lines += [
        f"worker {worker['number']}: process {worker['pid']}, since {worker['since']}, "
        f"{worker['sessions']} sessions, {worker['restarts']} restarts"
        for worker in status["workers"]
    ]
    return lines
