"""One worker: the parts put together, and their life from start to stop.

    run_worker(startup, number, sockets, table, line)      # in a forked process; returns its exit status

Here alone the layers meet: functions of one are handed to another. A reload builds what a new configuration changes
and swaps it in; what it can't change while running (listeners, workers, data_dir, user) is named in the log.
"""

import asyncio
import gc
import os
import random
import resource
import secrets
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import uvloop

from valija.auth.accounts import Accounts
from valija.auth.local import AccountsBackend
from valija.channel import Channel
from valija.config import Config, parse
from valija.deliver.maildir import MaildirAgent
from valija.deliver.remote import RemoteAgent
from valija.dkim_keys import DkimKeys
from valija.dns.caching import CachingResolver
from valija.logs import Log, LogBuffer
from valija.machine import is_local_address
from valija.mail.job import Job, QueueId
from valija.mail.origin import Role
from valija.mail.outcome import Outcome
from valija.policy.ourselves import Ourselves
from valija.policy.relay import RelayFacts
from valija.policy.route import Router
from valija.queue.scheduler import Scheduler
from valija.queue.spool import Spool
from valija.queue.sqlite import SqliteStore
from valija.receive.admission import SessionTable
from valija.receive.listener import Listener
from valija.receive.site import Site
from valija.sockets import BoundSockets
from valija.supervisor import STOP_PATIENCE
from valija.tls.certificates import CertificateStore
