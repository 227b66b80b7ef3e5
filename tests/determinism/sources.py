"""Sources of nondeterminism, each as workflow code or one of its helpers would use it.

A source of `VALUES` gets a deterministic answer; one of `REFUSED` an error that begins with the given text.
"""

# A lambda is a frame of the user's; and it is the point of this file to do what one should not do.
# ruff: noqa: PLW0108, DTZ002, DTZ005, DTZ011, PTH109, PTH204, PTH207, PTH208

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime as dt
import email.utils
import getpass
import glob
import multiprocessing
import os
import platform
import random
import secrets
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shortuuid
import ulid
import uuid_utils

from tests.determinism import early

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES: dict[str, Callable[[], object]] = {
    # Clocks
    "time.time": lambda: time.time(),
    "time.time_ns": lambda: time.time_ns(),
    "time.monotonic": lambda: time.monotonic(),
    "time.perf_counter_ns": lambda: time.perf_counter_ns(),
    "time.process_time": lambda: time.process_time(),
    "time.thread_time": lambda: time.thread_time(),
    "time.clock_gettime": lambda: time.clock_gettime(time.CLOCK_MONOTONIC),
    "time.strftime": lambda: time.strftime("%Y-%m-%d %H:%M:%S"),
    "time.asctime": lambda: time.asctime(),
    "time.ctime": lambda: time.ctime(),
    "time.gmtime": lambda: [*time.gmtime(), *time.gmtime(None)],
    "time.localtime": lambda: [*time.localtime()],
    "datetime.now": lambda: dt.datetime.now(),
    "datetime.now, aware": lambda: dt.datetime.now(dt.UTC),
    "datetime.today": lambda: dt.datetime.today(),
    "date.today": lambda: dt.date.today(),
    "the time of a helper": lambda: early.later(),
    "the time of the event loop": lambda: asyncio.get_running_loop().time(),
    "email.utils.formatdate": lambda: email.utils.formatdate(),
    "email.utils.localtime": lambda: email.utils.localtime(),
    # Random numbers
    "random.random": lambda: random.random(),
    "random.shuffle": lambda: random.sample(range(100), 100),
    "random.gauss": lambda: random.gauss(0, 1),
    "random.getstate": lambda: list(random.getstate()[1])[:9],
    "Random()": lambda: random.Random().random(),
    "Random(), seeded again": lambda: _seeded_again(),
    "a generator of a module": lambda: [early.GENERATOR.random(), early.GENERATOR.choice("abcdef")],
    "a seeded generator of a module": lambda: early.SEEDED.random(),
    "a method of such a generator": lambda: early.DRAW(),
    "a generator of another class": lambda: [early.DIE.roll(), early.Die().roll()],
    "random numbers of a helper": lambda: early.roll(),
    "uuid.uuid4": lambda: uuid.uuid4(),
    "shortuuid": lambda: shortuuid.uuid(),
    # Names that were bound early
    "names": lambda: [*early.reading(), *early.by_names()],
    "a table": lambda: early.CLOCKS["now"](),
    "a list": lambda: early.LISTED[0](),
    "tuples": lambda: [early.PAIRED[0](), early.PAIRED[1][0]()],
    "a partial function": lambda: early.PARTIAL(),
    "a default argument": lambda: [early.by_default(), early.by_keyword()],
    "a closure": lambda: early.ENCLOSED(),
    "attributes of a class": lambda: [early.STAMPED.clock(), early.STAMPED().held()],
    "a data class": lambda: early.Event(),
    "an attrs class": lambda: early.Sample(),
    "a pydantic model": lambda: early.Order(),
    "a pydantic model in another": lambda: early.Basket.model_validate({"order": {}}),
    "a pydantic adapter": lambda: early.ADAPTER.validate_python([{}]),
    "a pydantic data class": lambda: early.Line(),
    "a msgspec struct": lambda: early.Record(),
}


def _seeded_again() -> float:
    generator = random.Random(1)
    generator.seed()
    return generator.random()


def _request() -> Any:
    return urllib.request.urlopen("http://localhost:1")


REFUSED: dict[str, tuple[str, Callable[[], object]]] = {
    # Secrets
    "secrets.token_hex": ("secrets.token_hex()", lambda: secrets.token_hex()),
    "secrets.choice": ("secrets.choice()", lambda: secrets.choice("ab")),
    "secrets.randbelow": ("secrets.randbelow()", lambda: secrets.randbelow(9)),
    "SystemRandom": ("random.SystemRandom", lambda: random.SystemRandom().random()),
    "a SystemRandom of a module": ("random.SystemRandom", lambda: early.SYSTEM.choice("ab")),
    "os.urandom": ("os.urandom()", lambda: os.urandom(2)),
    "os.urandom by name": ("os.urandom()", lambda: early.BYTES(2)),
    "random.seed": ("random.seed()", lambda: random.seed(1)),
    # Ids
    "uuid.uuid1": ("uuid.uuid1()", lambda: uuid.uuid1()),
    "uuid.getnode": ("uuid.getnode()", lambda: uuid.getnode()),
    "ulid": ("ulid, by time", lambda: ulid.ULID()),
    "uuid_utils": ("uuid_utils.uuid7()", lambda: uuid_utils.uuid7()),
    # The process and its machine
    "os.environ": ("Reading os.environ", lambda: os.environ["PATH"]),
    "os.getenv": ("Reading os.environ", lambda: early.environment()),
    "all of os.environ": ("Reading os.environ", lambda: dict(os.environ)),
    "repr of os.environ": ("Reading os.environ", lambda: repr(os.environ)),
    "expanduser": ("Reading os.environ", lambda: Path("~").expanduser()),
    "getpass.getuser": ("Reading os.environ", lambda: getpass.getuser()),
    "os.getpid": ("os.getpid()", lambda: os.getpid()),
    "os.getpid by name": ("os.getpid()", lambda: early.PROCESS()),
    "os.getcwd": ("os.getcwd()", lambda: os.getcwd()),
    "an absolute path": ("os.getcwd()", lambda: Path("x").absolute()),
    "os.cpu_count": ("os.cpu_count()", lambda: os.cpu_count()),
    "os.times": ("os.times()", lambda: os.times()),
    "platform.node": ("platform.node()", lambda: platform.node()),
    "platform.platform": ("platform.platform()", lambda: platform.platform()),
    "socket.gethostname": ("socket.gethostname()", lambda: socket.gethostname()),
    "threading.get_ident": ("threading.get_ident()", lambda: threading.get_ident()),
    "tempfile.gettempdir": ("tempfile.gettempdir()", lambda: tempfile.gettempdir()),
    # Files
    "open": ("Opening a file", lambda: Path(__file__).read_text()),
    "os.stat": ("os.stat()", lambda: os.path.getmtime(__file__)),
    "Path.exists": ("os.stat()", lambda: Path(__file__).exists()),
    "Path.resolve": ("os.", lambda: Path("x").resolve()),
    "os.listdir": ("os.listdir()", lambda: os.listdir("/")),
    "os.walk": ("os.", lambda: list(os.walk("/nowhere"))),
    "glob.glob": ("glob.glob()", lambda: glob.glob("/*")),
    "shutil.which": ("Reading os.environ", lambda: shutil.which("true")),
    "tempfile.mkstemp": ("tempfile.", lambda: tempfile.mkstemp()),
    "sqlite3.connect": ("sqlite3.connect()", lambda: sqlite3.connect(":memory:")),
    # Time that passes, and other flows of control
    "time.sleep": ("time.sleep()", lambda: time.sleep(0)),
    "a thread": ("Starting a thread", lambda: threading.Thread(target=print).start()),
    "a timer thread": ("Starting a thread", lambda: threading.Timer(0, print).start()),
    "an executor": (
        "Submitting work to an executor",
        lambda: concurrent.futures.ThreadPoolExecutor().submit(print),
    ),
    "a process": ("subprocess.Popen()", lambda: subprocess.run(["true"], check=True)),
    "a forked process": ("os.", lambda: multiprocessing.get_context("fork").Process().start()),
    "a socket": ("Opening a socket", lambda: socket.socket()),
    "a request": ("", _request),
}
