from __future__ import annotations

import re

from weaksvr.demo.view_find import find_view

HIT = {"name": "a.mp4", "distance": 0.05, "score": None, "seconds": 75.0, "metadata": {}, "pictures": []}


def answer(*hits: dict, threshold: float | None = 0.13) -> dict:
    return {"hits": list(hits), "size": 9, "shelf": "the gallery shop", "method": "alignment", "threshold": threshold}


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_hits_stand_in_order_with_what_is_known():
    other = {**HIT, "name": "b.mp4", "distance": 0.3, "metadata": {"site": "Graz"}}
    text = words(find_view(answer(HIT, other)))
    assert "2 of 9 videos in the gallery shop, compared moment by moment" in text
    assert "1 a.mp4 1:15 = same procedure, distance 0.050" in text
    assert "2 b.mp4 1:15, site=Graz ≠ different, distance 0.300" in text


def test_without_a_threshold_nothing_is_called_the_same():
    text = words(find_view(answer(HIT, threshold=None)))
    assert "same procedure" not in text
    assert "distance 0.050" in text


def test_a_script_has_a_score():
    assert "fits the steps: 0.69 (1 is best)" in words(find_view(answer({**HIT, "distance": None, "score": 0.691})))


def test_an_empty_gallery_is_said():
    assert words(find_view(answer())) == "Nothing to find There are no videos in the gallery shop."


def test_what_comes_from_outside_is_escaped():
    text = "<script>alert(1)</script>"
    hit = {**HIT, "name": text, "metadata": {text: text}, "pictures": ['"><script>']}
    assert "<script" not in find_view({**answer(hit), "shelf": text})
