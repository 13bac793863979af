"""Broken packages: one defect each, with the step that has to refuse it and the words that have to name it."""

from __future__ import annotations

import json
import os
import pickle
import py_compile
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crema.host.package_paths import file_sha256
from tests.check.package_maker import MANIFEST, MODEL, lock_text, write_package

Make = Callable[[Path], Path]
"""Writes a package into a folder of packages and returns its own folder."""


class Defect(NamedTuple):
    """What is wrong, how it is made, which step says so, and a regular expression for the reason."""

    name: str
    make: Make
    step: str
    reason: str


def in_manifest(old: str, new: str) -> Make:
    """The sound package with one piece of its manifest replaced."""
    assert old in MANIFEST
    return lambda packages: write_package(packages, manifest=MANIFEST.replace(old, new))


def in_code(old: str, new: str) -> Make:
    """The sound package with one piece of its code replaced."""
    assert old in MODEL
    return lambda packages: write_package(packages, model=MODEL.replace(old, new))


def first_lines(code: str) -> Make:
    """The sound package with code before its own."""
    return lambda packages: write_package(packages, model=code + "\n" + MODEL)


def with_load(statement: str) -> Make:
    """The sound package with one more statement in `load`."""
    return in_code("self.scale = 1 / 510", f"self.scale = 1 / 510\n        {statement}")


def with_answers(expression: str) -> Make:
    """The sound package whose `predict` ends otherwise: `answers` is the list that it would have returned."""
    body = MODEL.replace("return [", "answers = [") + f"        return {expression}\n"
    return lambda packages: write_package(packages, model=body)


def changed(change: Callable[[Path], object]) -> Make:
    """The sound package after `change` has been at its folder."""

    def make(packages: Path) -> Path:
        package = write_package(packages)
        change(package)
        return package

    return make


def with_lock(edit: Callable[[str], str]) -> Make:
    """The sound package with an edited lock."""

    def change(package: Path) -> None:
        lock = package / "requirements.pypi.lock"
        lock.write_text(edit(lock.read_text()))

    return changed(change)


def with_weights(name: str, content: bytes, sha256: str | None = None, *, is_declared: bool = True) -> Make:
    """The sound package with a file of weights."""

    def make(packages: Path) -> Path:
        package = write_package(packages)
        path = package / "weights" / name
        path.parent.mkdir()
        path.write_bytes(content)
        if is_declared:
            with (package / "model.yaml").open("a") as manifest:
                manifest.write(
                    f'weights:\n  - {{path: weights/{name}, sha256: "{sha256 or file_sha256(path)}"}}\n'
                )
        return package

    return make


def safetensors(length: int | None = None) -> bytes:
    """Two floats; `length` is what the header says of its own length instead of the truth."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + bytes(8)


def onnx_with_external_data(location: str) -> bytes:
    """The least ONNX file: ir_version 8 and a graph whose one tensor lies in another file."""

    def field(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    entry = field(1, b"location") + field(2, location.encode())
    return b"\x08\x08" + field(7, field(5, field(13, entry)))


def next_minor(model: str = MODEL, manifest: str = MANIFEST, score: float | None = None) -> Make:
    """1.1 beside a sound 1.0."""

    def make(packages: Path) -> Path:
        write_package(packages)
        return write_package(packages, version="1.1", model=model, manifest=manifest, score=score)

    return make


def _link_out(package: Path) -> None:
    secret = package.parent.parent / "secret.txt"
    secret.write_text("not yours")
    (package / "notes.txt").symlink_to(secret)


def _link_to_nowhere(package: Path) -> None:
    (package / "notes.txt").symlink_to("elsewhere.txt")


def _pipe(package: Path) -> None:
    os.mkfifo(package / "notes.txt")


def _bytecode_only(package: Path) -> None:
    (package / "helper.py").write_text("import pickle\n")
    py_compile.compile(str(package / "helper.py"), cfile=str(package / "helper.pyc"))
    (package / "helper.py").unlink()


def _stale_bytecode(package: Path) -> None:
    folder = package / "__pycache__"
    folder.mkdir()
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(
        str(package / "model.py"), cfile=str(folder / "model.pyc"), invalidation_mode=unchecked
    )


def _zipped_code(package: Path) -> None:
    with zipfile.ZipFile(package / "helpers.zip", "w") as archive:
        archive.writestr("helper.py", "import pickle\n")


def _links_in_a_ring(package: Path) -> None:
    (package / "one").symlink_to("two")
    (package / "two").symlink_to("one")


def _example_through_a_link(package: Path) -> None:
    elsewhere = package.parent.parent / "ramp.npy"
    (package / "examples" / "ramp.npy").rename(elsewhere)
    (package / "examples" / "ramp.npy").symlink_to(elsewhere)


def _drift(packages: Path) -> Path:
    """Each minor step is within the tolerance of the one before, and 1.2 is not within that of 1.0."""
    for version, scale in (("1.0", "1 / 510"), ("1.1", "1 / 510 + 0.000003"), ("1.2", "1 / 510 + 0.000006")):
        package = write_package(packages, version=version, model=MODEL.replace("1 / 510", scale))
    return package


IN_PROCESS = (
    Defect("a misspelt key", in_manifest("batching:", "batchng:"), "manifest", r"model\.yaml:11:1: batchng: .*did you mean batching"),
    Defect("a version without quotes", in_manifest('"{version}"', "{version}"), "manifest", r"model\.yaml:3:1: version: must stand in quotes"),
    Defect("another version than the folder's", in_manifest('"{version}"', '"1.5"'), "manifest", r"version: must be the name of the package's folder, 1\.0"),
    Defect("another name than the folder's", in_manifest("name: {name}", "name: dark"), "manifest", r"name: must be the name of the folder above"),
    Defect("a path that climbs out", in_manifest("examples/ramp.npy", "../../../ramp.npy"), "manifest", r"model\.yaml:17:6: examples\[0\]\.tensor: must stay inside the package's folder, without \.\."),
    Defect("an absolute path", in_manifest("examples/ramp.json", "/etc/ramp.json"), "manifest", r"expect: must be relative"),
    Defect("an example behind a link out", changed(_example_through_a_link), "manifest", r"leads through a link out"),
    Defect("a link out beside the manifest", changed(_link_out), "manifest", r"notes\.txt.*is a link that leads out"),
    Defect("a link to nowhere", changed(_link_to_nowhere), "manifest", r"notes\.txt.*is no file"),
    Defect("links in a ring", changed(_links_in_a_ring), "manifest", r"one: is a link that leads out"),
    Defect("bytecode that is never held against its source", changed(_stale_bytecode), "manifest", r"model\.pyc: is bytecode that Python runs"),
    Defect("code in an archive", changed(_zipped_code), "manifest", r"helpers\.zip: is an archive with Python in it"),
    Defect("a pipe among the files", changed(_pipe), "manifest", r"notes\.txt.*is no file"),
    Defect("bytecode without its source", changed(_bytecode_only), "manifest", r"helper\.pyc.*is bytecode"),
    Defect("an example that is not there", in_manifest("ramp.npy", "rampe.npy"), "manifest", r"there is no such file"),
    Defect("no such module", in_manifest("model:Model", "modle:Model"), "manifest", r"entrypoint: there is no modle\.py"),
    Defect("a key written twice", in_manifest("load_s: 20", "load_s: 20\nload_s: 30"), "manifest", r"load_s.*(twice|already)"),
    Defect("a tolerance that allows everything", in_manifest("tolerance: 0.001", "tolerance: 0.5"), "manifest", r"tolerance: must be at most 0\.1"),
    Defect("a tolerance that is not finite", in_manifest("tolerance: 0.001", "tolerance: .inf"), "manifest", r"tolerance: "),
    Defect("a default out of its range", in_manifest("default: 1.0", "default: 3.0"), "manifest", r"default: must be at most maximum"),
    Defect("an unknown type of parameter", in_manifest("type: number", "type: float"), "manifest", r"params\.gain\.type: must be integer, number, boolean or string"),
    Defect("no example", in_manifest("examples:\n  - {{tensor: examples/ramp.npy, expect: examples/ramp.json, tolerance: 0.001}}\n", ""), "manifest", r"examples: is required"),
    Defect("a schema that nobody understands", in_manifest("{{type: score}}", "{{type: json, schema: {{type: scroe}}}}"), "manifest", r"output\.schema: "),
    Defect("pickle imported", first_lines("import pickle"), "manifest", r"model\.py:1:1: imports pickle"),
    Defect("joblib imported from elsewhere", first_lines("from sklearn.externals import joblib"), "manifest", r"imports joblib"),
    Defect("crema imported in a function", with_load("from crema.torch_model import best_device"), "manifest", r"model\.py:\d+:9: imports crema"),
    Defect("pickle imported by its name in a string", with_load("__import__('pickle')"), "manifest", r"imports pickle"),
    Defect("torch.load", with_load("import torch as t; t.load('w.pt')"), "manifest", r"uses torch\.load, which reads pickles"),
    Defect("numpy.load with pickles", with_load("np.load('x.npy', allow_pickle=True)"), "manifest", r"passes allow_pickle"),
    Defect("code that is no Python", first_lines("def ("), "manifest", r"model\.py:1:\d+: is not Python"),
    Defect("no lock", changed(lambda package: (package / "requirements.pypi.lock").unlink()), "lock", r"there is no lock"),
    Defect("a stale lock", changed(lambda package: (package / "requirements.in").write_text("scipy\n")), "lock", r"requirements\.pypi\.lock is stale: requirements\.in"),
    Defect("a line without a hash", with_lock(lambda text: text + "scipy==1.15.0\n"), "lock", r"scipy==1\.15\.0 has no sha256 hash"),
    Defect("a pin given twice", with_lock(lambda text: text + text[text.index("numpy==") :].replace("2.2.0", "1.26.0")), "lock", r"pins numpy twice"),
    Defect("a line that is not pinned", with_lock(lambda text: text.replace("numpy==", "numpy>=")), "lock", r"not pinned as NAME==VERSION \(got numpy>="),
    Defect("a lock that names an index", with_lock(lambda text: text + "--index-url https://example.com\n"), "lock", r"no options \(got --index-url\)"),
    Defect("a lock without what the worker needs", changed(lambda package: (package / "requirements.pypi.lock").write_text(lock_text(package, {"numpy": "2.2.0"}))), "lock", r"lacks msgpack"),
    Defect("a package that no index has", changed(lambda package: (package / "requirements.pypi.lock").write_text(lock_text(package, {"numpy": "2.2.0", "msgpack": "1.1.0", "there-is-no-such-thing": "1.0"}))), "environment", r"none of the locks of bright@1\.0 can be installed"),
    Defect("other weights than declared", with_weights("w.safetensors", safetensors(), "0" * 64), "weights", r"weights/w\.safetensors has another digest"),
    Defect("a pickle called safetensors", with_weights("w.safetensors", pickle.dumps({"w": [1.0]})), "weights", r"w\.safetensors is a pickle under another name"),
    Defect("a pickle that is not declared", with_weights("w.pt", pickle.dumps({"w": [1.0]}), is_declared=False), "weights", r"weights/w\.pt is a pickle"),
    Defect("weights that are not declared", with_weights("w.safetensors", safetensors(), is_declared=False), "weights", r"w\.safetensors is not declared"),
    Defect("weights under another name that are not declared", with_weights("w.bin", safetensors(), is_declared=False), "weights", r"w\.bin is not declared"),
    Defect("safetensors cut short", with_weights("w.safetensors", safetensors()[:-4]), "weights", r"tensors end elsewhere than the file"),
    Defect("safetensors whose header is longer than the file", with_weights("w.safetensors", safetensors(1 << 60)), "weights", r"its header does not fit"),
    Defect("an ONNX file that is none", with_weights("w.onnx", b"GIF89a"), "weights", r"w\.onnx is no ONNX file"),
    Defect("ONNX data that is not declared", with_weights("w.onnx", onnx_with_external_data("w.onnx.data")), "weights", r"keeps tensors in w\.onnx\.data, which is not declared"),
    Defect("ONNX data that climbs out", with_weights("w.onnx", onnx_with_external_data("../../x")), "weights", r"keeps tensors in \.\./\.\./x, outside"),
)  # fmt: skip

IN_A_WORKER = (
    Defect("a load that raises", with_load("raise RuntimeError('no weights')"), "load", r"no weights"),
    Defect("a load that hangs", lambda packages: write_package(packages, manifest=MANIFEST.replace("load_s: 20", "load_s: 1"), model=MODEL.replace("self.scale = 1 / 510", "while True: pass")), "load", r"did not load within 1 s"),
    Defect("a load that exits", with_load("import os; os._exit(3)"), "load", r"the worker died \(exit status 3\)"),
    Defect("a load that downloads", with_load("import urllib.request; urllib.request.urlopen('http://192.0.2.1/w')"), "load", r"reaches for the network"),
    Defect("a load that tries to download and goes on", with_load("import socket\n        try: socket.create_connection(('192.0.2.1', 80), 1)\n        except OSError: pass"), "load", r"reaches for the network \(.*192\.0\.2\.1\)"),
    Defect("a load that reads where it is started", with_load("open('examples/ramp.npy').close()"), "load", r"examples/ramp\.npy"),
    Defect("a load that changes its folder", with_load("import os; os.chdir('/')"), "load", r"leaves its working directory for /"),
    Defect("a load that writes into the package", with_load("open(ctx.path('model.py').parent / 'cache.bin', 'w').close()"), "load", r"it writes .*cache\.bin"),
    Defect("a load that makes a folder elsewhere", with_load("(ctx.path('model.py').parent / 'made').mkdir()"), "load", r"it writes .*made, outside"),
    Defect("a class without predict", in_code("def predict", "def predicts"), "load", r"predict"),
    Defect("an answer that is not the promised one", lambda packages: write_package(packages, score=0.5), "golden", r"examples/ramp\.npy score is 0\.12\S+ instead of 0\.5"),
    Defect("an expected answer that is no JSON", changed(lambda package: (package / "examples" / "ramp.json").write_text("{")), "golden", r"examples/ramp\.json is not JSON"),
    Defect("an example of another shape", changed(lambda package: np.save(package / "examples" / "ramp.npy", np.zeros(63, np.uint8))), "load", r"ramp\.npy is uint8 \[63\]; the model's input is uint8 \[64\]"),
    Defect("a numpy scalar", in_code('float(min(1.0, value * one["gain"]))', 'np.float32(min(1.0, value * one["gain"]))'), "golden", r"model_output_invalid"),
    Defect("NaN for a white image", with_answers('[{"score": float("nan")} if values[i] * 510 > 250 else one for i, one in enumerate(answers)]'.replace("values[i] * 510", "values[i] / self.scale")), "output", r"all 255: model_output_invalid"),
    Defect("a score beyond 1", with_answers('[{"score": 1.5} if (batch[i] == 255).all() else one for i, one in enumerate(answers)]'), "output", r"all 255: model_output_invalid"),
    Defect("a generator", with_answers("(one for one in answers)"), "golden", r"model_output_invalid: predict must return a list .*generator"),
    Defect("an array", with_answers("np.array(answers)"), "golden", r"model_output_invalid: predict must return a list .*ndarray"),
    Defect("one output too few in larger batches", with_answers("answers if len(answers) == 1 else answers[:-1]"), "batch", r"a batch of 2: model_output_invalid"),
    Defect("answers in another order", with_answers("answers[::-1]"), "batch", r"answered in another order"),
    Defect("answers sorted by score", with_answers("sorted(answers, key=lambda one: one['score'])"), "batch", r"answered in another order"),
    Defect("a mean over the batch", in_code("values = ", "batch = batch / 2 + batch.mean(axis=0) / 2\n        values = "), "batch", r"in a batch of 2, .* alone it does not"),
    Defect("full batches answered less exactly", with_answers("[{'score': round(one['score'], 1)} for one in answers] if len(answers) == 5 else answers"), "batch", r"in a batch of 5"),
    Defect("the last batch remembered", in_code("values = ", "self.full = getattr(self, 'full', 0) + (len(batch) == 5)\n        values = (1 if self.full < 5 else 0.5) * "), "batch", r"after a batch of 5, .* alone"),
    Defect("the first item's params for all", in_code('one["gain"]', 'params[0]["gain"]'), "batch", r"in a batch of 2"),
    Defect("a parameter without effect", in_code('one["gain"]', "1"), "params", r"gain changes no answer"),
    Defect("a parameter that fails at its end", in_code("return [", "assert all(one['gain'] < 2 for one in params)\n        return ["), "params", r"gain: 2\.0 fails with"),
    Defect("a worker that dies of a black image", in_code("values = ", "import os\n        (batch == 0).all(axis=1).any() and len(batch) == 3 and os.kill(os.getpid(), 11)\n        values = "), "poison", r"SIGSEGV"),
    Defect("mates that suffer for a black image", with_answers("[ValueError('black') for _ in answers] if (batch == 0).all(axis=1).any() else answers"), "poison", r"an all-0 image spoils its mates"),
    Defect("a random start", with_load("self.scale = np.random.default_rng().uniform(0.0001, 0.0015)"), "golden", r"instead of"),
    Defect("two loads that differ", lambda packages: write_package(packages, model=MODEL.replace("self.scale = 1 / 510", "self.scale = 1 / 510\n        self.white = np.random.default_rng().uniform(1, 2)").replace("values = ", "batch = np.where(batch == 255, 255 * self.white, batch)\n        values = ")), "loads", r"two loads do not agree"),
    Defect("more memory than declared", in_manifest("{{device: cpu}}", "{{device: cpu, memory_mb: 5}}"), "memory", r"resources\.memory_mb allows 5"),
    Defect("a leak with every batch", in_code("values = ", "self.kept = [*getattr(self, 'kept', ()), np.ones(100_000)]\n        values = "), "memory", r"the worker leaks"),
    Defect("too slow for its promise", lambda packages: write_package(packages, manifest=MANIFEST.replace("p99_ms: 5000", "p99_ms: 25"), model=MODEL.replace("values = ", "__import__('time').sleep(0.015)\n        values = ")), "latency", r"a single item takes \d+\.\d ms, and twice that is more than slo\.p99_ms, 25"),
    Defect("no CHANGES.md", changed(lambda package: (package / "CHANGES.md").unlink()), "changes", r"there is no CHANGES\.md"),
    Defect("a version that CHANGES.md does not name", changed(lambda package: (package / "CHANGES.md").write_text("# Changes\n\n## 1.10\n\nMore.\n")), "changes", r"has no section that names 1\.0"),
    Defect("an empty section in CHANGES.md", changed(lambda package: (package / "CHANGES.md").write_text("# Changes\n\n## 1.0\n\n## 0.9\n\nFirst.\n")), "changes", r"the section of 1\.0 is empty"),
    Defect("a hidden score change in a minor step", next_minor(MODEL.replace("1 / 510", "1 / 508")), "version", r"answers otherwise than 1\.0"),
    Defect("a drift over minor steps", _drift, "version", r"answers otherwise than 1\.0"),
    Defect("a minor step without a parameter", next_minor(MODEL.replace('one["gain"]', "1"), MANIFEST.replace("params:\n  gain: {{type: number, default: 1.0, minimum: 0.0, maximum: 2.0}}\n", "")), "version", r"a minor step keeps what 1\.0 promised: params\.gain is gone"),
    Defect("a minor step with a narrower range", next_minor(manifest=MANIFEST.replace("maximum: 2.0", "maximum: 1.5")), "version", r"params\.gain\.maximum was 2 and is 1\.5"),
)  # fmt: skip
