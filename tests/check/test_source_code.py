"""What a package's code may not hold, found without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from check.source_code import refused_code


def refused(folder: Path, code: str) -> list[str]:
    (folder / "model.py").write_text(code)
    return [str(mistake).splitlines()[0] for mistake in refused_code(folder)]


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import numpy, cloudpickle",
        "from pickle import loads",
        "import joblib.numpy_pickle as j",
        "from sklearn.externals import joblib",
        "import importlib\nimportlib.import_module('dill')",
        "__import__('pickle')",
        "import crema",
        "from crema.worker import main",
        "def load():\n    from crema import wire",
        "import torch\ntorch.load('w.pt')",
        "from torch import load\nload('w.pt')",
        "import torch as t\nt.jit.load('w.pt')",
        "import pandas as pd\npd.read_pickle('x')",
        "import numpy as np\nnp.load('x.npy', allow_pickle=True)",
        "f('name', trust_remote_code=flag)",
        "import numpy as np\nnp.load('x.npy', None, True)",
        "import numpy as np\nnp.load('x.npy', **{'allow_pickle': True})",
        "import importlib\nimportlib.import_module(name='pickle')",
        "import importlib\nimportlib.import_module('pick' + 'le')",
        "from importlib import import_module\nNAME = 'joblib'\nimport_module(NAME)",
        "import sys\nreader = sys.modules['pickle']",
        "import numpy.lib\nreader = numpy.lib.npyio.pickle",
        "import torch\nread = torch.load\nread('w.pt')",
        "import torch\ngetattr(torch, 'load')('w.pt')",
        "from torch import serialization\nserialization.load('w.pt')",
        "exec('import pickle')",
        "eval(\"__import__('pickle')\")",
        "from multiprocessing.reduction import ForkingPickler\nForkingPickler.loads(b'')",
    ],
)
def test_pickles_and_crema_are_refused(tmp_path: Path, code: str) -> None:
    assert len(refused(tmp_path, code)) == 1


@pytest.mark.parametrize(
    "code",
    [
        "import numpy as np\nnp.load('x.npy', allow_pickle=False)",
        "from .crema import anything",
        "from safetensors.torch import load_file as load\nload('w')",
        "import pickletools",
        "word = 'import pickle'",
        "class Crema: load = print",
        "class Jar:\n    def lid(self): return self.pickle",
        "import re\npattern = re.compile('import pickle')",
        "import torch\nmodule.load_state_dict(state)\nself.load('w.pt')",
        "import importlib\nimportlib.import_module('json')",
    ],
)
def test_what_only_looks_like_it_is_allowed(tmp_path: Path, code: str) -> None:
    assert refused(tmp_path, code) == []


def test_a_method_of_anything_may_not_read_a_pickle_either(tmp_path: Path) -> None:
    assert len(refused(tmp_path, "frames()[0].read_pickle('x')")) == 1


@pytest.mark.parametrize(
    "code", ["x" + ".a" * 2500, "x" + ".a()" * 1500, "-" * 2500 + "1", "[" * 150 + "]" * 150]
)
def test_deep_code_ends_in_an_answer_or_a_refusal(tmp_path: Path, code: str) -> None:
    assert len(refused(tmp_path, code)) <= 1


def test_every_place_is_named_in_order(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "deep.py").write_text("\n\nimport pickle")
    found = refused(tmp_path, "import crema\nimport joblib")
    assert [line.split(": ")[0] for line in found] == ["model.py:1:1", "model.py:2:1", "a/deep.py:3:1"]


@pytest.mark.parametrize("content", [b"def (", b"\xff\xfe\x00", b"x = '\0'", b"(" * 3000])
def test_what_is_no_python_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.py").write_bytes(content)
    assert len(refused_code(tmp_path)) == 1
