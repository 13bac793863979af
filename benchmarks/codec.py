"""P14: packing, unpacking and viewing a 150 KB tensor costs at most 1.5x two memcpys plus 15 µs.

.venv/bin/python -m benchmarks.codec
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.measuring import interleaved, machine, spread, verdict
from crema import wire

SHAPE = [224, 224, 3]
CALLS = 2_000
ROUNDS = 7


def microseconds(call: Callable[[], object]) -> float:
    """CPU microseconds of one call, over many."""
    start = time.process_time_ns()
    for _ in range(CALLS):
        call()
    return (time.process_time_ns() - start) / CALLS / 1000


def main() -> bool:
    """Print goal, figure, verdict."""
    pixels = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    payload = pixels.tobytes()
    target = bytearray(len(payload))

    def codec() -> None:
        head = wire.encode_header(
            {
                "v": 1,
                "kind": "infer",
                "id": 9,
                "request_id": "req_00112233445566",
                "remaining_ms": 4990.0,
                "items": [{"shape": SHAPE, "dtype": "uint8", "params": {}}],
            },
            len(payload),
        )
        header_bytes, payload_bytes = wire.decode_prefix(head)
        header = wire.decode_header(memoryview(head)[8 : 8 + header_bytes])
        item = header["items"][0]
        if wire.tensors_bytes(header["items"]) != payload_bytes:
            raise AssertionError("the sizes disagree")
        np.frombuffer(payload, item["dtype"]).reshape(item["shape"])

    def copies() -> None:
        target[:] = payload
        target[:] = payload

    ours, twice = interleaved([lambda: microseconds(codec), lambda: microseconds(copies)], ROUNDS)
    print(f"P14 tensor codec, uint8 {SHAPE}; {machine()}")
    print(f"      pack + unpack + view: {spread(ours)} µs; two memcpys: {spread(twice)} µs")
    return verdict("P14 codec", 1.5 * statistics.median(twice) + 15, statistics.median(ours), " µs")


if __name__ == "__main__":
    raise SystemExit(not main())
