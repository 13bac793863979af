"""Plain pytest: nothing of crema is needed. Run `python -m pytest` in the package's folder."""

import json
import logging
import sys
import types
from pathlib import Path

import numpy as np
import pytest

PACKAGE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PACKAGE))

from model import Model  # noqa: E402 - the package's own module, found by the line above

DEFAULTS = {"min_confidence": 0.5}


@pytest.fixture(scope="module")
def model():
    made = Model()
    made.load(types.SimpleNamespace(path=PACKAGE.joinpath, device="cpu", log=logging.getLogger("model")))
    return made


def photo(red, green, blue):
    return np.full((64, 64, 3), (red, green, blue), np.uint8)


def test_an_orange_photo_is_warm(model):
    (answer,) = model.predict(photo(250, 130, 20)[None], [DEFAULTS])
    assert answer["tags"][0]["name"] == "warm"


def test_an_answer_does_not_depend_on_its_mates(model):
    batch = np.stack([photo(250, 130, 20), photo(10, 10, 30), photo(40, 160, 50)])
    together = model.predict(batch, [DEFAULTS] * 3)
    for index in range(3):
        (alone,) = model.predict(batch[index : index + 1], [DEFAULTS])
        assert [tag["name"] for tag in alone["tags"]] == [tag["name"] for tag in together[index]["tags"]]


def test_min_confidence_is_taken_item_by_item(model):
    batch = np.stack([photo(250, 130, 20)] * 2)
    everything, nothing = model.predict(batch, [{"min_confidence": 0.0}, {"min_confidence": 1.0}])
    assert len(everything["tags"]) == 5
    assert nothing["tags"] == []


@pytest.mark.parametrize("name", ["sunset", "forest", "night"])
def test_the_examples_give_what_they_promise(model, name):
    image = pytest.importorskip("PIL.Image", reason="Pillow reads the examples: pip install pillow")
    pixels = np.asarray(image.open(PACKAGE / "examples" / f"{name}.png").convert("RGB"))
    wanted = json.loads((PACKAGE / "examples" / f"{name}.json").read_text())
    (answer,) = model.predict(pixels[None], [DEFAULTS])
    assert [tag["name"] for tag in answer["tags"]] == [tag["name"] for tag in wanted["tags"]]
