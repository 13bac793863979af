"""A decode process: takes images off its tray, lays pixels there, and can be killed at any time.

`python -m preprocessor.decoder --fd N --tray-fd M --parent-pid P`, started by the host and by nobody else. It holds no state
that anyone would miss, opens nothing, writes nothing but its tray, and limits itself before the first stranger's byte: address
space, CPU time per image, files. Each message on its socket is one image's: what is asked, and how it went
(`preprocessor.link`). It imports Pillow and msgpack, no numpy and no event loop, to be back quickly.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

import msgpack
from PIL import Image

from crema.errors import CremaError
from crema.host.image_limits import MAX_PIXELS
from crema.host.image_signatures import image_formats
from crema.host.process import die_with_parent, give_root_away, raise_malloc_thresholds
from crema.host.turns import take_long_turns
from preprocessor.colour import Profiles
from preprocessor.decode import Decoded, decode
from preprocessor.link import HEAVY_NICENESS, MAX_MESSAGE_BYTES, READY, unpack_request
from preprocessor.spec import Spec, parse_specs
from preprocessor.tray import TRAY_BYTES, Tray

# On top of what the host enforces: should the host itself be stuck, the kernel ends the decode after about this long.
CPU_SLACK_S: Final = 2
# Nobody's: another than the fetcher's, so that neither can touch the other.
UNPRIVILEGED_ID: Final = 64_918
OPEN_FILES: Final = 32

T = TypeVar("T")
Decode = Callable[[memoryview, Sequence[Spec]], Decoded]


def main() -> None:
    """Serve until the host closes the socket or dies."""
    parser = argparse.ArgumentParser(
        prog="python -m preprocessor.decoder", description="one decode process of a preprocessor"
    )
    parser.add_argument("--fd", type=int, required=True, help="the socket to the host")
    parser.add_argument("--tray-fd", type=int, required=True, help="the memory shared with the host")
    parser.add_argument("--parent-pid", type=int, required=True, help="the host; this process ends with it")
    parser.add_argument(
        "--memory-mb", type=int, required=True, help="address space above what the process starts with"
    )
    parser.add_argument("--cpu-s", type=float, required=True, help="CPU time that one image may take")
    parser.add_argument("--formats", type=image_formats, default=(), help="formats that are switched on")
    args = parser.parse_args()
    die_with_parent(args.parent_pid, signal.SIGKILL)
    raise_malloc_thresholds()
    profiles = Profiles()
    tray = Tray(args.tray_fd)
    limit_decoding()
    if args.formats:
        # what reads them is not even imported elsewhere; from here on nothing may be
        from preprocessor.optional_openers import load

        load(args.formats)
    limit_process(args.memory_mb)
    if give_root_away(UNPRIVILEGED_ID):
        # the kernel forgets this at a change of user
        die_with_parent(args.parent_pid, signal.SIGKILL)
    with socket.socket(fileno=args.fd) as link:
        serve(link, tray, partial(decode, profiles=profiles, formats=args.formats), args.cpu_s)


def limit_decoding() -> None:
    """Pillow's own limit on unpacked pixels as an error, everything else it warns of (odd metadata) in silence."""
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def limit_process(memory_mb: int) -> None:
    """Address space, files and core dumps of this process, from here on."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - pathlib is not imported in this process
        baseline = int(statm.read().split()[0]) * resource.getpagesize()
    _limit(resource.RLIMIT_AS, baseline + memory_mb * 1024 * 1024)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)


def serve(link: socket.socket, tray: Tray, decode_one: Decode, cpu_s: float) -> None:
    """Say that it is ready, then answer one request after the other until the host closes the socket."""
    link.send(READY)
    allowance = CpuAllowance(cpu_s + CPU_SLACK_S)
    while message := link.recv(MAX_MESSAGE_BYTES):
        is_heavy, images = unpack_request(message)
        allowance.renew()
        answer_them = partial(answer_all, tray, images, decode_one)
        link.send(msgpack.packb(behind_others(answer_them) if is_heavy else answer_them()))


class CpuAllowance:
    """The kernel's limit on this process's CPU time, kept `seconds` to `seconds` + 2 ahead of what is used."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._soft = 0

    def renew(self) -> None:
        """Another image may begin."""
        used = time.process_time()
        if self._soft - used < self._seconds:
            self._soft = math.ceil(used + self._seconds) + 1
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            resource.setrlimit(resource.RLIMIT_CPU, (self._soft, hard))


def behind_others(work: Callable[[], T]) -> T:
    """What `work` returns or raises, done with less of a core than the others want, who may cut in at any moment: in a thread,
    since a process without rights can lower its priority and not raise it again."""
    results: list[T] = []
    errors: list[BaseException] = []

    def do() -> None:
        with suppress(OSError):
            own = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), own + HEAVY_NICENESS)
        take_long_turns()
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=do)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def answer_all(
    tray: Tray, images: Sequence[tuple[int, int, bytes]], decode_one: Decode
) -> list[dict[str, Any]]:
    """What is said of each image; their pixels are laid where they lay."""
    answers = []
    for index, (begin, nbytes, packed_specs) in enumerate(images):
        if len(images) > 1:
            tray.note(index)
        answer, pixels = answer_one(tray.view(nbytes, begin), packed_specs, decode_one)
        tray.fill(pixels, begin)
        answers.append(answer)
    return answers


def answer_one(
    image: memoryview, packed_specs: bytes, decode_one: Decode
) -> tuple[dict[str, Any], list[bytes]]:
    """What is said of an image, and the pixels of each spec, in the order of the specs."""
    try:
        decoded = decode_one(image, _specs(packed_specs))
    except CremaError as error:
        return {"status": error.status, "error": error.as_wire()}, []
    found = decoded.image
    answer = {
        "status": 200,
        "image": {"format": found.format, "width": found.width, "height": found.height, "bytes": len(image)},
        "timing": {"decode_ms": decoded.decode_ms, "resize_ms": decoded.resize_ms},
    }
    return answer, [tensor.data for tensor in decoded.tensors]


@lru_cache(maxsize=16)
def _specs(packed: bytes) -> tuple[Spec, ...]:
    return parse_specs(msgpack.unpackb(packed), TRAY_BYTES)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, ConnectionError):
        sys.exit(0)
