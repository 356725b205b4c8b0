"""valija status and valija reload: speak to the running server."""

from typing import Any, Final, cast

import click

from valija.cli.frame import Call, Refusal, command, rfc3339

_TIMES: Final = ("not_before", "not_after", "renewal", "next_attempt")


def add_to(main: click.Group) -> None:
    """Add the commands."""

    @command(main, "status")
    def status(call: Call) -> None:
        """Tell how the running server is."""
        answer = cast("dict[str, Any]", ask(call, "status"))
        for each in (answer, *answer["workers"]):
            each["since"] = rfc3339(each["since"])
        certificates_of(answer)
        call.answer(answer, _lines(answer))

    @command(main, "reload")
    def reload(call: Call) -> None:
        """Have the running server read its configuration again; on any fault it keeps the old one."""
        call.load()
        ask(call, "reload")
        call.answer({"reloaded": True}, ["the new configuration is in force"])


def ask(call: Call, name: str, *, timeout: float = 10.0, **arguments: object) -> object:
    """Return the running server's answer. Raises Refusal where none runs, ControlError where it says no."""
    from valija.admin.control import SOCKET_NAME, NotRunning, request

    config = call.load()
    try:
        return request(config.data_dir / SOCKET_NAME, name, timeout=timeout, **arguments)
    except NotRunning:
        raise Refusal(f"no server is running on {config.data_dir}; start it with valija serve") from None


def certificates_of(status: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the certificates in a server's answer, their times as RFC 3339 has them from now on."""
    listed: list[dict[str, Any]] = status["certificates"]
    for each in listed:
        each.update((key, rfc3339(each[key])) for key in _TIMES if each[key] is not None)
    return listed


def _lines(status: dict[str, Any]) -> list[str]:
    lines = [f"valija {status['version']}, process {status['pid']}, since {status['since']}"]
    for role, endpoints in status["listening"].items():
        lines.append(f"{role}: {', '.join(endpoints) or 'off'}")
    lines += [
        f"worker {worker['number']}: process {worker['pid']}, since {worker['since']}, "
        f"{worker['sessions']} sessions, {worker['restarts']} restarts{_found(worker)}"
        for worker in status["workers"]
    ]
    for each in status["certificates"]:
        trouble = f"; not renewed: {each['last_error']}" if each["failures"] else ""
        lines.append(f"certificate: {', '.join(each['names'])}, {each['source']}, until {each['not_after']}{trouble}")
    return lines


def _found(worker: dict[str, Any]) -> str:
    """Return in words what a worker found in its queue when it started, "" where that was nothing."""
    if not worker["found"]:
        return ""
    parts = (("unfinished", "in an attempt as the process before it ended"), ("incomplete", "with a file gone"))
    also = "".join(f", {worker[name]} {words}" for name, words in parts if worker[name])
    return f", {worker['found']} messages found at its start{also}"
