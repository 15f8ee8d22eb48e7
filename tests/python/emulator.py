"""Runs a console script of this virtual environment until standard input ends.

The test holds the other end of standard input. However the test ends, even by `kill -9`, the emulator
and all its child processes end too.
"""

import os
import signal
import sys
import threading
import time
from importlib.metadata import entry_points

import record


def watch():
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(2)
    os.killpg(0, signal.SIGKILL)


name, *arguments = sys.argv[1:]
(script,) = entry_points(group="console_scripts", name=name)
threading.Thread(target=watch, daemon=True).start()
sys.argv = [name, *arguments]
run = script.load()
record.install()
sys.exit(run())
