"""One message of every kind on the channel: what the byte fixtures hold and the mutation test starts from."""

from __future__ import annotations

from typing import Any

PIXELS = bytes(range(12))
LOAD = {"pending": 3, "places": 64, "expected_wait_ms": 41.5}

MESSAGES: dict[str, tuple[dict[str, Any], bytes]] = {
    "hello": ({"v": 1, "kind": "hello", "id": 0, "role": "coordinator"}, b""),
    "hello_with_token": ({"v": 1, "kind": "hello", "id": 0, "role": "coordinator", "token": "t0k3n"}, b""),
    "refusal": (
        {
            "v": 1,
            "kind": "error",
            "id": 0,
            "error": {"code": "unauthenticated", "message": "wrong cluster token"},
        },
        b"",
    ),
    "preprocess": (
        {
            "v": 1,
            "kind": "preprocess",
            "id": 7,
            "request_id": "req_1",
            "remaining_ms": 4990.5,
            "lane": "interactive",
            "specs": [{"size": [224, 224], "fit": "cover", "filter": "bilinear"}],
        },
        b"\xff\xd8\xff\xd9",
    ),
    "preprocess_url": (
        {
            "v": 1,
            "kind": "preprocess",
            "id": 9,
            "request_id": "req_2",
            "remaining_ms": 4990.5,
            "lane": "interactive",
            "specs": [{"size": [224, 224], "fit": "cover", "filter": "bilinear"}],
            "url": "https://images.example.com/a.jpg",
        },
        b"",
    ),
    "preprocess_answer": (
        {
            "v": 1,
            "kind": "answer",
            "id": 7,
            "status": 200,
            "image": {"format": "jpeg", "width": 4000, "height": 3000, "bytes": 4},
            "tensors": [{"shape": [2, 2, 3], "dtype": "uint8"}],
            "timing": {"queue_ms": 0.5, "decode_ms": 18.4},
            "load": LOAD,
        },
        PIXELS,
    ),
    "infer": (
        {
            "v": 1,
            "kind": "infer",
            "id": 8,
            "request_id": "req_1",
            "remaining_ms": 4970.0,
            "lane": "interactive",
            "items": [{"shape": [2, 2, 3], "dtype": "uint8", "params": {"max_tags": 5}}],
        },
        PIXELS,
    ),
    "infer_answer": (
        {
            "v": 1,
            "kind": "answer",
            "id": 8,
            "status": 200,
            "model": "tags",
            "version": "3.1",
            "outcomes": [
                {"ok": {"tags": [{"name": "beach", "confidence": 0.982}]}},
                {"error": {"code": "item_rejected", "message": "too dark", "retryable": False}},
            ],
            "timing": {"queue_ms": 3.1, "inference_ms": 41.2, "batch_size": 8},
            "load": LOAD,
        },
        b"",
    ),
    "infer_refused": (
        {
            "v": 1,
            "kind": "answer",
            "id": 8,
            "status": 429,
            "model": "tags",
            "version": "3.1",
            "error": {
                "code": "overloaded",
                "message": "64 of 64 places taken",
                "retryable": True,
                "retry_after_ms": 800,
            },
            "load": LOAD,
        },
        b"",
    ),
    "cancel": ({"v": 1, "kind": "cancel", "id": 8}, b""),
}
