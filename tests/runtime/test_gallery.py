from __future__ import annotations

import dataclasses
import multiprocessing

import numpy as np
import pytest
from weaksvr.runtime.errors import DataError, OptionError
from weaksvr.runtime.gallery import Entry, Gallery, GalleryKey

D = 8
KEY = GalleryKey(embedding_id="one", dimensions=D, bundle="toy", precision="fp32", sampling="uniform-4")
NASTY = "o'brien' OR 1=1 -- \\ \" % _ ; DROP TABLE videos"


def entry(number, **changes):
    vector = np.random.default_rng(number).normal(size=D)
    return dataclasses.replace(Entry(content=f"c{number}", video=f"{number}.mp4", vector=vector), **changes)


@pytest.fixture
def gallery(tmp_path):
    return Gallery.create(str(tmp_path / "gallery"), KEY)


def contents(entries):
    return sorted(each.content for each in entries)


def test_what_was_added_comes_back(gallery):
    frames = np.random.default_rng(0).normal(size=(6, D)).astype(np.float32)
    one = entry(1, metadata={"site": "A", "note": "x=y"}, frame_features=frames, duration_seconds=2.5)
    assert gallery.add([one, entry(2)]) == 2
    again = Gallery.open(gallery.uri, key=KEY)
    assert len(again) == 2
    found = {each.content: each for each in again.entries()}
    assert dict(found["c1"].metadata) == {"site": "A", "note": "x=y"}
    assert (found["c1"].video, found["c1"].duration_seconds, found["c2"].duration_seconds) == ("1.mp4", 2.5, None)
    np.testing.assert_allclose(found["c1"].vector, one.vector / np.linalg.norm(one.vector), atol=1e-6)
    assert found["c1"].frame_features is None
    near = again.nearest(one.vector, top=2, frames=True).entries
    np.testing.assert_array_equal(near[0].frame_features, frames)
    assert near[1].frame_features is None


def test_content_stands_once(gallery):
    assert gallery.add([entry(1), entry(1, video="copy.mp4"), entry(2)]) == 2
    assert gallery.add([entry(1, video="other.mp4"), entry(3)]) == 1
    assert contents(gallery.entries()) == ["c1", "c2", "c3"]
    assert {each.video for each in gallery.entries()} == {"1.mp4", "2.mp4", "3.mp4"}
    assert gallery.known(["c1", "c9"]) == {"c1"}
    assert gallery.known([]) == set()
    assert gallery.add([]) == 0


@pytest.mark.parametrize("exact_up_to", [10**6, 0])
def test_the_nearest_are_those_of_brute_force(tmp_path, exact_up_to):
    gallery = Gallery.create(str(tmp_path / "gallery"), KEY, exact_up_to=exact_up_to)
    entries = [entry(number, metadata={"third": str(number % 3)}) for number in range(600)]
    gallery.add(entries)
    gallery.optimize()
    gallery.add([entry(600, metadata={"third": "0"})])  # after the index
    entries.append(entry(600, metadata={"third": "0"}))
    units = np.array([each.vector / np.linalg.norm(each.vector) for each in entries])
    query = np.random.default_rng(-1 % 2**32).normal(size=D)
    order = np.argsort(-(units @ query))
    found = gallery.nearest(query, top=10)
    assert found.exact is (exact_up_to > 0)
    if found.exact:
        assert [each.content for each in found.entries] == [f"c{row}" for row in order[:10]]
    assert [each.content for each in gallery.nearest(query, top=10, exact=True).entries] == [
        f"c{row}" for row in order[:10]
    ]
    assert gallery.nearest(query, top=10, exact=True).exact
    assert gallery.nearest(entries[600].vector, top=1).entries[0].content == "c600"
    some = gallery.nearest(query, top=5, where={"third": "1"}, exact=True)
    assert [each.content for each in some.entries] == [f"c{row}" for row in order if row % 3 == 1][:5]
    assert gallery.nearest(query, top=5, where={"third": "7"}).entries == ()


def test_filters_are_values_not_sql(gallery):
    gallery.add([entry(1, metadata={"who": NASTY}), entry(2, metadata={"who": "x"}), entry(3, video=NASTY)])
    assert contents(gallery.entries(where={"who": NASTY})) == ["c1"]
    assert contents(gallery.nearest(np.ones(D), top=9, where={"who": NASTY}).entries) == ["c1"]
    assert gallery.entries(where={"who": "' OR '1'='1"}) == ()
    assert gallery.remove(videos=["x') OR (1=1"]) == 0
    assert gallery.remove(videos=[NASTY]) == 1
    assert gallery.remove(where={"who": NASTY}) == 1
    assert contents(gallery.entries()) == ["c2"]


def test_removing(gallery):
    gallery.add([entry(number, metadata={"odd": str(number % 2)}) for number in range(6)])
    assert gallery.remove(videos=["0.mp4", "c1", "no.mp4"]) == 2
    assert gallery.remove(videos=["2.mp4", "3.mp4"], where={"odd": "1"}) == 1
    assert gallery.remove(where={"odd": "0"}) == 2
    assert contents(gallery.entries()) == ["c5"]
    with pytest.raises(OptionError, match="nothing says which videos are to be removed"):
        gallery.remove()


def test_a_list_has_an_end(gallery):
    gallery.add([entry(number) for number in range(25)])
    assert len(gallery.entries()) == 25
    assert len(gallery.entries(limit=3)) == 3


def test_an_empty_gallery(gallery):
    assert (len(gallery), gallery.entries(), gallery.nearest(np.ones(D), top=3).entries) == (0, (), ())
    gallery.optimize()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda g: g.add([entry(1, vector=np.ones(D + 1))]), "do not fit a gallery of 8 dimensions"),
        (lambda g: g.add([entry(1, vector=np.zeros(D))]), "zero or not finite"),
        (lambda g: g.nearest(np.full(D, np.nan), top=1), "zero or not finite"),
        (lambda g: g.nearest(np.ones(D), top=0), "top = 0 and probes = 128 must be at least 1"),
        (lambda g: g.add([entry(1, metadata={"a b": "c"})]), "metadata key 'a b' must be letters"),
        (lambda g: g.add([entry(1, metadata={"a": "b\nc"})]), "characters that cannot be printed"),
        (lambda g: g.entries(where={"x' OR 1=1": "1"}), "must be letters"),
    ],
)
def test_what_is_refused(gallery, call, match):
    with pytest.raises(OptionError, match=match):
        call(gallery)
    assert len(gallery) == 0


def test_places_that_are_no_gallery(tmp_path):
    with pytest.raises(DataError, match="is no gallery; make one"):
        Gallery.open(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").write_text("x")
    for name in ("file", "full"):
        with pytest.raises(DataError, match="is no gallery"):
            Gallery.open(str(tmp_path / name))
        with pytest.raises(DataError, match="is there, but no gallery"):
            Gallery.create(str(tmp_path / name), KEY)
    (tmp_path / "hollow" / "videos.lance").mkdir(parents=True)
    with pytest.raises(DataError, match="the gallery cannot be used"):
        Gallery.open(str(tmp_path / "hollow"))
    with pytest.raises(DataError, match="the gallery cannot be used"):
        Gallery.open("nosuchscheme://bucket/gallery")


def test_a_table_of_another_program(tmp_path):
    import lancedb

    lancedb.connect(str(tmp_path / "foreign")).create_table("videos", [{"a": 1}])
    with pytest.raises(DataError, match="the gallery cannot be used"):
        Gallery.open(str(tmp_path / "foreign"))


def test_a_damaged_gallery(gallery, tmp_path):
    gallery.add([entry(number) for number in range(5)])
    for path in (tmp_path / "gallery").rglob("data/*"):
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match="the gallery cannot be used"):
        Gallery.open(gallery.uri).nearest(np.ones(D), top=1)


def test_another_model_is_refused(gallery):
    other = dataclasses.replace(KEY, embedding_id="two", precision="fp16")
    for opened in (Gallery.open, Gallery.create):
        with pytest.raises(DataError, match=r"toy, fp32, uniform-4, and those in effect \(toy, fp16, uniform-4\)"):
            opened(gallery.uri, key=other)
    assert Gallery.open(gallery.uri).key == KEY


def _write(number: int, uri: str) -> int:
    gallery, added = Gallery.create(uri, KEY), 0
    for part in range(4):
        mine = [entry(1000 * number + 10 * part + i) for i in range(3)]
        added += gallery.add([*mine, entry(10_000 + part, video=f"from {number}")])
        gallery.remove(videos=[f"{1000 * number + 10 * part}.mp4"])
    gallery.optimize()
    return added


def test_several_processes_write_at_the_same_time(tmp_path):
    """They make the gallery together; each adds and removes its own, and all add the same four contents."""
    uri = str(tmp_path / "gallery")
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        added = pool.starmap(_write, [(number, uri) for number in (1, 2, 3)], chunksize=1)
    assert sum(added) == 3 * 12 + 4
    expected = [f"c{1000 * n + 10 * part + i}" for n in (1, 2, 3) for part in range(4) for i in (1, 2)]
    assert contents(Gallery.open(uri).entries()) == sorted([*expected, *(f"c{10_000 + part}" for part in range(4))])


def test_an_address_instead_of_a_folder(tmp_path):
    uri = f"file://{tmp_path}/gallery"
    with pytest.raises(DataError, match="the gallery cannot be used"):
        Gallery.open(uri)
    assert Gallery.create(uri, KEY).add([entry(1), entry(2)]) == 2
    again = Gallery.create(uri, KEY)
    assert again.nearest(entry(2).vector, top=1).entries[0].content == "c2"
    assert Gallery.open(str(tmp_path / "gallery")).remove(videos=["1.mp4"]) == 1
    assert contents(again.entries()) == ["c2"]
