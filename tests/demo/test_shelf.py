from __future__ import annotations

import json
import shutil

import pytest
from weaksvr.demo.shelf import ExampleShelf, GalleryShelf
from weaksvr.runtime.errors import BundleError, DataError
from weaksvr.runtime.gallery import Gallery
from weaksvr.runtime.gallery_search import add_videos, gallery_key
from weaksvr.runtime.script import parse_script
from weaksvr.runtime.verify import load

from .conftest import EXAMPLES

NAMES = ("assembly_1.mp4", "assembly_2.mp4", "assembly_swapped.mp4")


@pytest.fixture(scope="module")
def model():
    return load(device="cpu", num_threads=1)


@pytest.fixture(scope="module", params=[True, False], ids=["frames", "vectors"])
def gallery(request, model, tmp_path_factory):
    """A gallery of the examples, with or without the features of their frames."""
    uri = str(tmp_path_factory.mktemp("shelves") / "shop")
    made = Gallery.create(uri, gallery_key(model))
    clips = [EXAMPLES / name for name in NAMES]
    assert add_videos(made, model, clips, metadata={"site": "Graz"}, frames=request.param).added == 3
    return uri, "alignment" if request.param else "vector"


def script_of(name: str):
    return parse_script((EXAMPLES / name).with_suffix(".txt").read_text(), name="the steps")


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_are_found_by_themselves_and_by_their_steps(model, name):
    shelf = ExampleShelf(model)
    found = shelf.find(str(EXAMPLES / name), pictures=True)
    assert found["hits"][0]["name"] == name
    distances = [hit["distance"] for hit in found["hits"]]
    assert distances == sorted(distances)
    assert distances[0] == pytest.approx(0, abs=1e-5)
    assert all(len(hit["pictures"]) == 4 for hit in found["hits"])
    by_steps = shelf.find(script_of(name), pictures=False)
    swapped = by_steps["hits"][0]["name"] == "assembly_swapped.mp4"
    assert swapped is (name == "assembly_swapped.mp4")
    assert not by_steps["hits"][0]["pictures"]


def test_a_gallery_is_searched_and_names_no_path(model, gallery):
    uri, method = gallery
    shelf = GalleryShelf(model, uri)
    assert shelf.title == "the gallery shop"
    for query in (str(EXAMPLES / NAMES[2]), script_of(NAMES[2])):
        found = shelf.find(query, pictures=True)
        assert (found["method"], found["size"]) == (method, 3)
        assert found["hits"][0]["name"] == NAMES[2]
        assert found["hits"][0]["metadata"] == {"site": "Graz"}
        assert len(found["hits"][0]["pictures"]) == 4
        assert str(EXAMPLES) not in json.dumps(found)


def test_a_gallery_that_is_gone_is_called_by_no_path(model, tmp_path):
    uri = str(tmp_path / "shop")
    add_videos(Gallery.create(uri, gallery_key(model)), model, [EXAMPLES / NAMES[0]])
    shelf = GalleryShelf(model, uri)
    shutil.rmtree(uri)
    with pytest.raises(DataError, match=r"^the gallery: ") as caught:
        shelf.find(script_of(NAMES[0]), pictures=False)
    assert str(tmp_path) not in str(caught.value)


def test_a_gallery_that_is_none(model, tmp_path):
    with pytest.raises(DataError, match="is no gallery; make one with weaksvr-gallery add"):
        GalleryShelf(model, str(tmp_path / "none"))


def test_steps_need_a_text_network(model):
    shelf = ExampleShelf(model)
    tokenizer, model.embedder.tokenizer = model.embedder.tokenizer, None
    try:
        with pytest.raises(BundleError, match="has no text network"):
            shelf.find(script_of(NAMES[0]), pictures=False)
    finally:
        model.embedder.tokenizer = tokenizer
