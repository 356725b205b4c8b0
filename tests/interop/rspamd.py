"""The real rspamd for a test: a worker and a controller on loopback, without Redis, without a look into the DNS.

    with LiveRspamd() as rspamd:
        rspamd.url                     # "http://127.0.0.1:..."; rspamd.socket is the same worker's
        rspamd.stop(); rspamd.start()  # on the same ports

The controller takes scans too, and wants PASSWORD for it. What a message's subject asks for comes out of RULES, so that
each action can be had: `action=soft reject` comes to that action, `fields` to fields added and removed.
"""

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.foreground import Foreground
from tests.ports import free_port

RSPAMD = shutil.which("rspamd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin")
HOST: Final = "127.0.0.1"
PASSWORD: Final = "s3cret of rspamd"
GTUBE: Final = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
LARGEST: Final = 600_000  # octets of a message

_CONFIGURATION = """
options {{
  pidfile = "{folder}/pid"; tempdir = "{folder}"; hs_cache_dir = "{folder}"; cache_file = "{folder}/cache";
  url_tld = "{folder}/tld"; local_addrs = "192.0.2.1"; disable_hyperscan = true; filters = "regexp";
  dns {{ nameserver = ["{host}:9"]; timeout = 0.1s; retransmits = 1; }}
  task_timeout = 8s; max_message = {largest};
}}
lang_detection {{ languages_enabled = ["en"]; }}
logging {{ type = "console"; level = "info"; }}
actions {{ reject = 15; rewrite_subject = 8; add_header = 6; greylist = 4; }}
worker "normal" {{ bind_socket = "{host}:{port}"; bind_socket = "{folder}/socket mode=0666"; count = 1; }}
worker "controller" {{
  bind_socket = "{host}:{controller}"; count = 1; secure_ip = "192.0.2.1"; password = "{password}";
}}
lua = "{folder}/rules.lua";
"""

RULES = """
local function wanted(task) return (task:get_subject() or '') end
rspamd_config:register_symbol({ name = 'ACTION', type = 'normal', callback = function(task)
  local action = wanted(task):match('^action=(.*)')
  if action then task:set_pre_result(action, 'said by a rule', 'test') end
end })
rspamd_config:register_symbol({ name = 'SCORE', type = 'normal', score = 1.0, callback = function(task)
  local score = wanted(task):match('^score=(.*)')
  if score then return true, tonumber(score), 'asked for' end
end })
rspamd_config:register_symbol({ name = 'FIELDS', type = 'normal', score = 0.0, callback = function(task)
  local ip = task:get_from_ip()
  local facts = { tostring(ip), task:get_helo() or '-', task:get_hostname() or '-', task:get_user() or '-',
    ((task:get_from('smtp') or {})[1] or {}).addr or '-', tostring(#(task:get_recipients('smtp') or {})),
    tostring(task:get_size()) }
  local add = { ['X-Facts'] = table.concat(facts, ' ') }
  if wanted(task) == 'fields' then
    add['X-Hostile'] = 'one\\r\\nBcc: victim@example.org\\r\\n\\r\\nbody'
    task:set_milter_reply({ add_headers = add, remove_headers = { ['X-Old'] = 0 } })
  else
    task:set_milter_reply({ add_headers = add })
  end
end })
"""


def need_rspamd() -> None:
    if RSPAMD is None:
        pytest.skip("rspamd is missing: apt-get install rspamd")


class LiveRspamd(Foreground):
    """See the module's example."""

    def __init__(self) -> None:
        super().__init__("rspamd")
        self.port, self.controller_port = free_port(HOST), free_port(HOST)
        self.url = f"http://{HOST}:{self.port}"
        self.controller = f"http://{HOST}:{self.controller_port}"
        self.socket = f"unix:{self.folder}/socket"

    def command(self) -> Sequence[str | Path]:
        assert RSPAMD
        self._write()
        return RSPAMD, "-f", "-i", "-c", self.folder / "rspamd.conf"

    def answers(self) -> bool:
        return _answers(self.url) and _answers(self.controller)

    def _write(self) -> None:
        places = {"folder": self.folder, "host": HOST, "port": self.port, "controller": self.controller_port}
        text = _CONFIGURATION.format(**places, password=PASSWORD, largest=LARGEST)
        (self.folder / "rspamd.conf").write_text(text)
        (self.folder / "tld").write_text("com\nnet\norg\nexample\n")  # the real list takes it seconds to read
        (self.folder / "rules.lua").write_text(RULES)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ping", timeout=1.0) as answer:
            return bool(answer.read().startswith(b"pong"))
    except (OSError, urllib.error.URLError):
        return False
