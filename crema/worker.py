"""The worker's process: loads one model and runs batches, in the Python of the model's own virtualenv. Light ring.

It speaks the channel's frames over one descriptor (crema.worker_loop says which). What the model prints goes to standard error
like any output: it can never reach the protocol. Splitting, retrying and answering callers are the host's.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import logging
import os
import resource
import signal
import socket
import sys
import traceback
import warnings
from typing import Final

from crema.link import Link
from crema.session import take_over
from crema.shared_pixels import SharedPixels
from crema.worker_loop import Worker

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
MAX_OPEN_FILES: Final = 4096


def die_with_parent(parent_pid: int) -> None:
    """SIGKILL for this process when the host dies, however it dies; as urgent as that is."""
    take_over(parent_pid)
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(0)


def limit_itself() -> None:
    """Descriptors for a model and not for a server; and whatever the model starts gets no more rights than it has."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def main() -> None:
    """`python -m crema.worker --fd N --parent-pid P [--pixels-fd M]`: started by the host only."""
    parser = argparse.ArgumentParser(
        prog="python -m crema.worker", description="Runs one model for a crema minion."
    )
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the channel to the host")
    parser.add_argument("--parent-pid", type=int, required=True, help="end when this process dies")
    parser.add_argument(
        "--pixels-fd", type=int, help="descriptor of the memory that the host receives pixels into"
    )
    args = parser.parse_args()
    die_with_parent(args.parent_pid)
    limit_itself()
    faulthandler.enable()
    # asked by the host before it kills a worker that hangs: where every thread is
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # a batch that is lent (crema.lender) is not to be written to, which torch says of every array like that
    warnings.filterwarnings("ignore", "The given NumPy array is not writable")
    connection = socket.socket(fileno=args.fd)
    # what the model starts must not hold the channel open
    connection.set_inheritable(False)
    status = 1
    try:
        shared = None if args.pixels_fd is None else SharedPixels(args.pixels_fd)
        status = Worker(Link(connection), shared).serve()
    except EOFError:
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # threads that the model left running must not keep the process
        os._exit(status)


if __name__ == "__main__":
    main()
