"""A decode process: reads images from its socket, answers with pixels, and can be killed at any time.

`python -m preprocessor.decoder --fd N --parent-pid P`, started by the host and by nobody else. It holds no state that
anyone would miss, opens nothing, writes nothing, and limits itself before the first stranger's byte: address space,
CPU time per image, files. It imports Pillow and msgpack, no numpy and no event loop, to be back quickly.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from PIL import Image

from crema import wire
from crema.errors import CremaError
from crema.host.image_signatures import image_formats
from crema.host.process import die_with_parent, raise_malloc_thresholds
from preprocessor.colour import Profiles
from preprocessor.decode import Decoded, decode
from preprocessor.header import MAX_PIXELS
from preprocessor.spec import Spec, parse_specs

# On top of what the host enforces: should the host itself be stuck, the kernel ends the decode after about this long.
CPU_SLACK_S: Final = 2
OPEN_FILES: Final = 32
# A heavy image gets about a quarter of a core that others want too.
HEAVY_NICENESS: Final = 5

T = TypeVar("T")
Decode = Callable[[bytearray, Sequence[Spec]], Decoded]


def main() -> None:
    """Serve until the host closes the socket or dies."""
    parser = argparse.ArgumentParser(
        prog="python -m preprocessor.decoder", description="one decode process of a preprocessor"
    )
    parser.add_argument("--fd", type=int, required=True, help="the socket to the host")
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
    limit_decoding()
    limit_process(args.memory_mb)
    with socket.socket(fileno=args.fd) as link:
        serve(link, partial(decode, profiles=profiles, formats=args.formats), args.cpu_s)


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


def serve(link: socket.socket, decode_one: Decode, cpu_s: float) -> None:
    """Say hello, then answer one frame after the other until the host closes the socket."""
    link.sendall(wire.encode_header(wire.hello("worker")))
    prefix = bytearray(8)
    while _fill(link, memoryview(prefix)):
        header_bytes, payload_bytes = wire.decode_prefix(prefix)
        packed, payload = bytearray(header_bytes), bytearray(payload_bytes)
        if not _fill(link, memoryview(packed)) or not _fill(link, memoryview(payload)):
            return
        header = wire.decode_header(packed)
        if header["kind"] != "decode":
            continue  # the host's hello
        _allow_cpu(cpu_s)
        answer_it = partial(answer_one, header, payload, decode_one)
        answer, pixels = behind_others(answer_it) if header.get("heavy") else answer_it()
        _send(link, wire.encode_header(answer, sum(map(len, pixels))), pixels)


def behind_others(work: Callable[[], T]) -> T:
    """What `work` returns or raises, done with less of a core than the others want: in a thread, since a process without
    rights can lower its priority and not raise it again."""
    results: list[T] = []
    errors: list[BaseException] = []

    def do() -> None:
        with suppress(OSError):
            own = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), own + HEAVY_NICENESS)
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


def answer_one(
    header: dict[str, Any], image: bytearray, decode_one: Decode
) -> tuple[dict[str, Any], list[bytes]]:
    """The answer frame's header and the pixels of each spec, in the order of the specs."""
    answer: dict[str, Any] = {"v": wire.WIRE_VERSION, "kind": "answer", "id": header["id"]}
    try:
        specs = parse_specs(header["specs"], wire.MAX_PAYLOAD_BYTES)
        decoded = decode_one(image, specs)
    except CremaError as error:
        return answer | {"status": error.status, "error": error.as_wire()}, []
    found = decoded.image
    answer |= {
        "status": 200,
        "image": {"format": found.format, "width": found.width, "height": found.height, "bytes": len(image)},
        "tensors": [{"shape": list(spec.shape), "dtype": "uint8"} for spec in specs],
        "timing": {"decode_ms": round(decoded.decode_ms, 3), "resize_ms": round(decoded.resize_ms, 3)},
    }
    return answer, [tensor.data for tensor in decoded.tensors]


def _fill(link: socket.socket, buffer: memoryview) -> bool:
    """Receive exactly as much as `buffer` holds; False when the host closed the socket."""
    position = 0
    while position < len(buffer):
        count = link.recv_into(buffer[position:], 0, socket.MSG_WAITALL)
        if count == 0:
            return False
        position += count
    return True


def _send(link: socket.socket, head: bytes, pixels: list[bytes]) -> None:
    """One frame, straight from the tensors' own memory."""
    parts = [memoryview(part) for part in (head, *pixels)]
    while parts:
        sent = link.sendmsg(parts)
        while parts and sent >= len(parts[0]):
            sent -= len(parts[0])
            del parts[0]
        if parts:
            parts[0] = parts[0][sent:]


def _allow_cpu(cpu_s: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + cpu_s) + CPU_SLACK_S
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, ConnectionError):
        sys.exit(0)
    except wire.WireError as error:
        os.write(2, f"decoder: {error}\n".encode())
        sys.exit(1)
