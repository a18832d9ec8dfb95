"""The program ``weakseg``, as the package installs it."""

from __future__ import annotations

import os
import signal
import sys
import tempfile


def main() -> None:
    """Runs the program on the process's arguments, and ends the process with its status."""
    # Python's handler would wait for the program to come back.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform.startswith("linux"):
        # Mesa's drivers print an error per adapter without it, though nothing here opens a window.
        os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    from ._weakseg import run_program

    sys.exit(run_program(["weakseg", *sys.argv[1:]]))
