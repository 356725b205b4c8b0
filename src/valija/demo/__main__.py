"""What ./run does: `python -m valija.demo FOLDER [SMTPD-PORT SUBMISSION-PORT SUBMISSIONS-PORT]`.

It ends with the server; Ctrl-C and SIGTERM end the server.
"""

import asyncio
import signal
import ssl
import sys
import time
from pathlib import Path
from typing import Final

from valija.demo.setting import DOMAIN, HOST, LOGIN, VALIJA, CannotStart, Setting
from valija.demo.sink import Sink
from valija.demo.story import Story, read_line
from valija.tls.contexts import server_context
from valija.tls.self_signed import make_self_signed

ROLES: Final = ("smtpd", "submission", "submissions")
PORTS: Final = (2525, 2587, 2465)
LINE_LIMIT: Final = 64 * 1024  # octets; a line of the log is 8 KiB at most

WELCOME: Final = """
valija runs on {host}: ports {smtpd} (smtpd), {submission} (submission), {submissions} (submissions).
What you send elsewhere than {domain} is caught by a sink behind it, shown here, and goes nowhere.

Account {login}, password {password} (made for this run, shown this once).

Send a first message from another terminal, with curl:

{curl}

or with Python:

{python}

The log and each message's story follow. Ctrl-C ends it.
"""


async def run(setting: Setting) -> int:
    """Run the demonstration; return the exit status. Raises CannotStart."""
    setting.check_ports()
    story = Story(lambda text: print(_bright(text), flush=True))
    sink = await Sink.open(story.catch, _sink_context())
    await setting.prepare(sink.port)
    server = await asyncio.create_subprocess_exec(
        VALIJA, "serve", "-c", setting.configuration, stderr=asyncio.subprocess.PIPE, limit=LINE_LIMIT
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a closed terminal too
        loop.add_signal_handler(number, _stop, server)
    await _follow(server, story, setting)
    sink.close()
    return await server.wait()


def _sink_context() -> ssl.SSLContext:
    pair = make_self_signed("sink.localhost", time.time())
    return server_context(pair.chain_pem, pair.key_pem)


def _stop(server: asyncio.subprocess.Process) -> None:
    if server.returncode is None:
        server.terminate()


async def _follow(server: asyncio.subprocess.Process, story: Story, setting: Setting) -> None:
    """Show the server's log and the stories in it until it ends; say how to use it when it is ready."""
    assert server.stderr
    welcomed = False
    async for raw in server.stderr:
        line = raw.decode("utf-8", "replace").rstrip("\n")
        heard = read_line(line)
        print(line, flush=True)
        story.hear(line)
        if not welcomed and heard and heard.event == "ready":
            welcomed = True
            await asyncio.to_thread(setting.fetch_certificate)
            print(_welcome(setting), flush=True)


def _welcome(setting: Setting) -> str:
    return WELCOME.format(
        host=HOST,
        domain=DOMAIN,
        login=LOGIN,
        password=setting.password,
        curl=setting.curl_line(),
        python=setting.python_line(),
        **setting.ports,
    )


def _bright(text: str) -> str:
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


def main() -> int:
    """Run with the folder and the ports that the command line names."""
    folder, ports = sys.argv[1:2], [int(port) for port in sys.argv[2:]] or PORTS
    if not folder or len(ports) != len(ROLES):
        print("usage: python -m valija.demo FOLDER [PORT PORT PORT]", file=sys.stderr)
        return 2
    try:
        return asyncio.run(run(Setting(Path(folder[0]).resolve(), dict(zip(ROLES, ports, strict=True)))))
    except CannotStart as reason:
        print(f"./run: {reason}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
