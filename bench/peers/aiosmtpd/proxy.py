"""aiosmtpd as a proxy that holds nothing: `proxy.py PORT NEXT_HOP`, run by an interpreter of its own."""

import asyncio
import sys

# This runs in an environment of its own, where they are.
from aiosmtpd.handlers import Proxy  # type: ignore[import-not-found]
from aiosmtpd.smtp import SMTP  # type: ignore[import-not-found]


async def main(port: int, next_hop: int) -> None:
    """Serve until the process is ended."""
    handler = Proxy("127.0.0.1", next_hop)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, hostname="mx.bench.test"), "127.0.0.1", port, backlog=1000)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
