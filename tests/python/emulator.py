"""Runs a console script of this venv until standard input ends.

The test holds the other end: whatever ends it, also kill -9, ends the emulator and all that the
emulator has started.
"""

import os
import signal
import sys
import threading
import time
from importlib.metadata import entry_points


def watch():
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(2)
    os.killpg(0, signal.SIGKILL)


name, *arguments = sys.argv[1:]
(script,) = entry_points(group="console_scripts", name=name)
threading.Thread(target=watch, daemon=True).start()
sys.argv = [name, *arguments]
sys.exit(script.load()())
