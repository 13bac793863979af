"""TorchModel and the page-locked batch array: with a fake CUDA here, with a real torch in a model's own environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crema.host.light_ring import make_light_ring
from crema.loaded_model import LoadedModel
from crema.torch_model import has_bf16, page_lock
from envs.builder import environment_for
from tests.crema.fake_torch import fake_torch

ROOT = Path(__file__).resolve().parents[2]


class FakeRuntime:
    """The two functions of the CUDA runtime that pin memory, without any."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.locked: dict[int, int] = {}

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:  # noqa: N802 - CUDA's name
        if self.status == 0:
            self.locked[address] = size
        return self.status

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802 - CUDA's name
        del self.locked[address]
        return 0


def test_page_locking_covers_the_whole_array_until_it_is_released() -> None:
    runtime, batch = FakeRuntime(), np.zeros((4, 8, 8, 3), np.uint8)
    pages = page_lock(batch, runtime)
    assert runtime.locked == {batch.ctypes.data: batch.nbytes}
    pages.release()
    assert runtime.locked == {}


def test_releasing_pages_twice_is_harmless() -> None:
    pages = page_lock(np.zeros(8), FakeRuntime())
    pages.release()
    pages.release()


def test_memory_that_the_system_does_not_pin_is_an_error_with_a_next_step() -> None:
    with pytest.raises(RuntimeError, match=r"cudaError 2.*ulimit -l"):
        page_lock(np.zeros(8), FakeRuntime(status=2))


@pytest.mark.parametrize("memory", [np.zeros((4, 4))[:, :2], np.zeros((0, 3))])
def test_only_one_piece_of_memory_can_be_page_locked(memory: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ValueError, match="contiguous"):
        page_lock(memory, FakeRuntime())


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """A model that answers zeros; `import` of its module leaves nothing behind."""
    (tmp_path / "model.py").write_text(
        "class Toy:\n    def load(self, ctx): pass\n    def predict(self, batch, params): return [0] * len(batch)\n"
    )
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    sys.modules.pop("model", None)


def loaded(package: Path, device: str, in_flight: int = 1) -> LoadedModel:
    card = {
        "entrypoint": "model:Toy",
        "input": {"kind": "image", "size": [4, 3]},
        "output": {"type": "json", "schema": True},
        "params": {},
        "batching": {"max_size": 2, "in_flight": in_flight},
        "examples": [],
    }
    return LoadedModel(card, package, device)


def with_torch(monkeypatch: pytest.MonkeyPatch, runtime: FakeRuntime) -> None:
    """As if the model had imported a torch with this CUDA runtime."""
    torch = fake_torch()
    torch.cuda.cudart = lambda: runtime
    monkeypatch.setitem(sys.modules, "torch", torch)


def test_the_batch_array_of_a_torch_model_on_a_gpu_is_page_locked_until_it_is_closed(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = FakeRuntime()
    with_torch(monkeypatch, runtime)
    model = loaded(package, "cuda:0")
    memory = model.arrays[0].array
    assert runtime.locked == {memory.ctypes.data: memory.nbytes}
    model.close()
    assert runtime.locked == {}


def test_both_batch_arrays_are_page_locked_where_two_batches_may_overlap(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = FakeRuntime()
    with_torch(monkeypatch, runtime)
    model = loaded(package, "cuda:0", in_flight=2)
    assert runtime.locked == {each.array.ctypes.data: each.array.nbytes for each in model.arrays}
    assert len(runtime.locked) == 2
    model.close()
    assert runtime.locked == {}


def test_on_a_cpu_nothing_is_page_locked(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = FakeRuntime()
    with_torch(monkeypatch, runtime)
    loaded(package, "cpu").close()
    assert runtime.locked == {}


def test_a_model_on_a_gpu_without_torch_runs_without_page_locks(package: Path) -> None:
    assert "torch" not in sys.modules
    model = loaded(package, "cuda:0")
    assert [n for n, _ in model.warm_up([])] == [1, 2]
    assert "torch" not in sys.modules


def test_a_model_runs_where_nothing_can_be_page_locked(
    package: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_torch(monkeypatch, FakeRuntime(status=2))
    model = loaded(package, "cuda:0")
    assert [n for n, _ in model.warm_up([])] == [1, 2]
    assert "not page-locked" in caplog.text


@pytest.mark.parametrize(
    ("cpuinfo", "has"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 clflush", True),
        ("flags\t\t: fpu avx512f amx_bf16 amx_tile", True),
        ("Features\t: fp asimd bf16 i8mm", True),
        ("flags\t\t: fpu avx512f avx512_vnni", False),
        ("Features\t: fp asimd asimdbf16less", False),
    ],
)
def test_the_processor_s_flags_tell_whether_it_multiplies_bf16(cpuinfo: str, has: bool) -> None:
    assert has_bf16(cpuinfo) is has


def facts_on(device: str, folder: Path) -> dict[str, Any]:
    """What `torch_model_facts.py` saw in the environment of a package that has torch."""
    python = environment_for(ROOT / "model_packages" / "tags" / "3.1").python
    done = subprocess.run(
        [str(python), str(Path(__file__).with_name("torch_model_facts.py")), device],
        env={**os.environ, "PYTHONPATH": str(make_light_ring(folder)), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.fixture(
    scope="module",
    params=[pytest.param("cpu", marks=pytest.mark.cluster), pytest.param("cuda:0", marks=pytest.mark.gpu)],
)
def facts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if request.param != "cpu" and shutil.which("nvidia-smi") is None:
        pytest.skip("no GPU on this machine")
    found = facts_on(request.param, tmp_path_factory.mktemp("ring"))
    if not found["cuda"]:
        pytest.skip(
            "this environment's torch sees no CUDA device; CREMA_PROFILE=pypi takes a build with CUDA"
        )
    return found


def test_pixels_become_normalised_floats(facts: dict[str, Any]) -> None:
    assert facts["off"] < 2e-6 and facts["type"] == "float32"


def test_the_module_runs_in_inference_mode_and_not_in_training(facts: dict[str, Any]) -> None:
    assert facts["inference"] and not facts["training"]


def test_pixels_and_weights_lie_channels_last(facts: dict[str, Any]) -> None:
    assert facts["channels_last"] and facts["weights_channels_last"]


def test_channels_first_on_request_changes_no_number(facts: dict[str, Any]) -> None:
    assert facts["plain_contiguous"] and facts["plain_same"]


def test_without_mean_and_std_the_batch_is_passed_as_it_is(facts: dict[str, Any]) -> None:
    assert facts["as_is"]


def test_bf16_is_inside_only_and_answers_are_float32(facts: dict[str, Any]) -> None:
    assert (facts["bf16_inside"], facts["bf16_result"]) == ("torch.bfloat16", "float32")


def test_weights_of_convolutions_are_bf16_once_and_for_all_and_no_answer_changes(
    facts: dict[str, Any],
) -> None:
    assert (facts["bf16"]["weights"], facts["bf16"]["same"]) == ("torch.bfloat16", True)


def test_a_processor_that_cannot_do_bf16_stays_with_float32(
    facts: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    is_gpu = "cuda:0" in request.node.name
    assert facts["bf16"]["unable"] == [is_gpu, "torch.bfloat16" if is_gpu else "torch.float32"]


@pytest.mark.parametrize(
    ("net", "count"),
    [
        ("Pair", 1),
        ("Deep", 3),
        ("Optional", 1),
        ("Renamed", 1),
        ("by itself", 1),
        ("Shortcut", 0),
        ("Twice", 0),
        ("Weighed", 0),
        ("Deciding", 0),
        ("Hooked", 0),
        ("asked not to", 0),
    ],
)
def test_batch_norms_are_folded_where_that_changes_nothing(
    facts: dict[str, Any], net: str, count: int
) -> None:
    folded, off = facts["folded"][net]
    assert folded == count
    assert off < 1e-5


def test_outputs_may_be_nested(facts: dict[str, Any]) -> None:
    assert facts["nested"]


def test_a_read_only_batch_is_taken_without_a_warning(facts: dict[str, Any]) -> None:
    assert facts["read_only"]


def test_contradicting_options_are_refused(facts: dict[str, Any]) -> None:
    assert "give both" in facts["mean_alone"]
    assert "none may be 0" in facts["zero_std"]
    assert "at least 1" in facts["no_streams"]


def test_a_worker_finds_the_gpu_exactly_where_torch_sees_one(
    facts: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    assert facts["has_device"] == ("cuda:0" in request.node.name)


def test_batches_take_the_streams_in_turn_and_each_waits_for_its_own(facts: dict[str, Any]) -> None:
    assert facts["in_turn"]["log"] == [
        "into 0", "out of 0", "mark 0", "into 1", "out of 1", "mark 1", "wait for 1", "wait for 0",
    ]  # fmt: skip
    assert facts["in_turn"]["right"]


@pytest.mark.gpu
def test_two_batches_from_pinned_memory_are_under_way_at_once(tmp_path: Path) -> None:
    if shutil.which("nvidia-smi") is None:
        pytest.skip("no GPU on this machine")
    found = facts_on("cuda:0", tmp_path)
    if not found["cuda"]:
        pytest.skip(
            "this environment's torch sees no CUDA device; CREMA_PROFILE=pypi takes a build with CUDA"
        )
    assert found["pinned"] and found["released"]
    assert found["two_streams"] == [1, 2]
    together = found["overlapped"]
    assert together["mistakes"] == []
    assert (together["streams"], together["right"]) == (2, True)
    memory = together["memory"]
    assert 0 < memory["reserved"] <= memory["used"] <= memory["total"]
