"""Examples are decoded as the cluster decodes photos, in every form that a manifest can ask for."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from check.items import shape_of
from check.photos import Photos
from crema.host.manifest_parts import ImageInput


@pytest.mark.cluster
def test_a_gray_model_s_example_has_one_channel() -> None:
    photo = io.BytesIO()
    Image.new("RGB", (8, 8), (255, 0, 0)).save(photo, "PNG")
    with Photos() as photos:
        pixels = photos.decode(photo.getvalue(), ImageInput(kind="image", size=(6, 4), colour="gray"))
    assert pixels.shape == (4, 6, 1)
    assert {int(value) for value in pixels.flat} == {76}


def test_the_probes_of_a_gray_model_have_one_channel() -> None:
    assert shape_of(ImageInput(kind="image", size=(6, 4), colour="gray"))[0] == (4, 6, 1)
