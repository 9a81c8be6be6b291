"""The plan tells what decoding takes, and the cheapest frames of segments cost no more than the middles."""

from __future__ import annotations

import pathlib

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weaksvr.runtime.errors import OptionError, VideoError
from weaksvr.runtime.video import open_video
from weaksvr.runtime.video_cost import CostModel, dispensable, refers
from weaksvr.runtime.video_index import PacketTable, Run
from weaksvr.runtime.video_parallel import share_runs

HEIGHT, WIDTH, NUM_FRAMES = 96, 128, 120
X264 = {"x264-params": "keyint=50:min-keyint=50:scenecut=0:bframes=3:b-adapt=0:b-pyramid=normal"}
KINDS = {
    "short.mp4": ("libx264", {"x264-params": "keyint=10:min-keyint=10:scenecut=0:bframes=2"}),
    "long.mp4": ("libx264", X264),
    "long.ts": ("libx264", X264),
    "opengop.mkv": ("libx264", {"x264-params": "keyint=20:open-gop=1:scenecut=0:bframes=3"}),
    "hevc.mp4": ("libx265", {"x265-params": "log-level=0:keyint=40:bframes=4"}),
    "hevc.ts": ("libx265", {"x265-params": "log-level=0:keyint=40:bframes=4"}),
    "mpeg2.ts": ("mpeg2video", {"bf": "2", "g": "12"}),
    "mpeg4.mp4": ("mpeg4", {"bf": "2", "g": "12"}),
    "mpeg4.avi": ("mpeg4", {"bf": "2", "g": "12"}),
    "intra.avi": ("mjpeg", {}),
}


def picture(number: int) -> np.ndarray:
    shade = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH) + 3 * number) % 97
    return np.repeat(shade[..., None], 3, -1).astype(np.uint8) + np.array([0, 40, 80], np.uint8)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("costs")


@pytest.fixture(scope="session", params=KINDS)
def path(request, folder) -> pathlib.Path:
    codec, options = KINDS[request.param]
    path = folder / request.param
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1
        for number in range(NUM_FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number))))
        container.mux(stream.encode())
    return path


def halves(count: int, total: int = NUM_FRAMES) -> np.ndarray:
    borders = np.arange(count + 1) * total // count
    return np.stack([borders[:-1], borders[1:]], axis=1)


def decoded_by_ffmpeg(path: pathlib.Path) -> int:
    """How many pictures the decoder puts out where it passes over those that no other refers to."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        stream.codec_context.skip_frame = "NONREF"
        frames = [frame for packet in [*packets, None] for frame in stream.codec_context.decode(packet)]
    return len(frames)


def test_references_are_those_that_the_decoder_does_not_pass_over(path):
    codec = KINDS[path.name][0]
    if codec in {"mpeg4", "mjpeg"}:
        pytest.skip("nothing is passed over")
    with open_video(path) as video:
        plan = video.plan([video.num_frames - 1, 0])
        all_but_last = decoded_by_ffmpeg(path)
        assert video.plan(range(NUM_FRAMES)).num_pictures == NUM_FRAMES
        table = video._reader.table
        assert sum(video._reader.referred(range(len(table)))) == all_but_last
        assert plan.num_pictures <= all_but_last + 2
        assert all_but_last < 0.8 * NUM_FRAMES


@pytest.mark.parametrize("budget", [2**24, 0], ids=["memory", "disk"])
@pytest.mark.parametrize("threads", [1, 3])
def test_cheapest_frames(path, budget, threads):
    with open_video(path) as video:
        expected = {count: video.cheapest(halves(count)).tolist() for count in (1, 4, 16)}
    with open_video(path, num_threads=threads, packet_budget=budget) as video:
        for count, numbers in expected.items():
            segments = halves(count)
            found = video.cheapest(segments)
            assert found.dtype == np.int64
            assert found.tolist() == numbers
            assert np.all((segments[:, 0] <= found) & (found < segments[:, 1]))
            middle = video.plan(segments.sum(axis=1) // 2)
            plan = video.plan(found)
            assert plan.num_frames == count
            assert plan.num_pictures <= middle.num_pictures
            assert video.plan(segments[:, 1] - 1).num_pictures >= plan.num_pictures
        assert len(video.frames(found, size=32)) == 16


def test_a_key_picture_is_taken_where_a_segment_has_one(folder):
    for name in ("long.mp4", "intra.avi", "short.mp4"):
        path = folder / name
        if not path.exists():
            pytest.skip("was not made")
        with open_video(path) as video, av.open(str(path)) as container:
            keys = [number for number, frame in enumerate(container.decode(video=0)) if frame.key_frame]
            assert set(video.cheapest([(40, 60), (95, 120)]).tolist()) <= set(keys)


def test_plan_counts_a_short_clip_exactly(folder):
    path = folder / "short.mp4"
    if not path.exists():
        pytest.skip("was not made")
    with open_video(path) as video:
        assert video.plan([0]).num_pictures == 1
        assert video.plan([0, 0, 0]).num_frames == 1
        plan = video.plan([0, 50])
        assert (plan.num_frames, plan.num_packets, plan.num_pictures, plan.num_runs) == (2, 2, 2, 2)
        assert video.plan([]).num_pictures == 0
        assert 0 < plan.num_bytes < path.stat().st_size


def brute_force(model: CostModel, segments: np.ndarray) -> int:
    """The least cost of all choices."""
    grids = np.meshgrid(*(np.arange(low, high) for low, high in segments.tolist()), indexing="ij")
    return min(model.cost(choice) for choice in np.stack([grid.ravel() for grid in grids], axis=1))


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_cheapest_is_the_least_of_all_choices(data):
    lengths = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    total = sum(lengths)
    keys = np.cumsum([0, *lengths[:-1]])
    key = np.isin(np.arange(total), keys)
    reference = key | np.array(data.draw(st.lists(st.booleans(), min_size=total, max_size=total)))
    table = PacketTable(
        pts=np.arange(total),
        dts=np.arange(total),
        duration=np.ones(total, np.int64),
        size=np.array(data.draw(st.lists(st.integers(1, 50), min_size=total, max_size=total))),
        key=key,
        shown=np.ones(total, bool),
    )
    model = CostModel(table=table, packet=np.arange(total), reference=reference, pixels=0, gap=0)
    borders = sorted(data.draw(st.sets(st.integers(1, total), min_size=1, max_size=4)))
    segments = np.stack([[0, *borders[:-1]], borders], axis=1)
    found = model.cheapest(segments)
    assert np.all((segments[:, 0] <= found) & (found < segments[:, 1]))
    assert model.cost(found) == brute_force(model, segments)


def run(start: int, stop: int) -> Run:
    return Run(start=start, stop=stop, needed=frozenset({stop - 1}))


def test_runs_are_shared_evenly_or_not_at_all():
    runs = [run(0, 10), run(20, 25), run(30, 35)]
    assert share_runs(runs, 2) == [[runs[0]], [runs[1], runs[2]]]
    assert share_runs(runs, 1) is None
    assert share_runs(runs[:1], 4) is None
    assert share_runs([run(0, 90), run(95, 100)], 2) is None
    assert share_runs(runs, 4) is None  # three runs do not keep four threads busy
    many = [run(10 * place, 10 * place + 6) for place in range(11)]
    shares = share_runs(many, 4)
    assert shares is not None
    assert sorted(run.start for share in shares for run in share) == [run.start for run in many]
    assert all(share == sorted(share, key=lambda run: run.start) for share in shares)


@pytest.mark.parametrize("segments", [[(0, 0)], [(5, 3)], [(-1, 4)], [(0, NUM_FRAMES + 1)]])
def test_segments_out_of_range(path, segments):
    with (
        open_video(path) as video,
        pytest.raises(OptionError, match=r"segment -?\d+ to \d+ is empty or not within 0 to"),
    ):
        video.cheapest(segments)


@pytest.mark.parametrize("segments", [[1, 2], [(1, 2, 3)], [(0.5, 2.0)]])
def test_segments_that_are_none(path, segments):
    with open_video(path) as video:
        with pytest.raises(OptionError, match="segments must be pairs"):
            video.cheapest(segments)
        assert video.cheapest([]).tolist() == []


def test_a_closed_video_has_no_plan(path):
    video = open_video(path)
    video.close()
    with pytest.raises(VideoError, match="is closed"):
        video.plan([0])
    with pytest.raises(VideoError, match="is closed"):
        video.cheapest([(0, 2)])


def test_folder_takes_the_middles(tmp_path):
    for number in range(1, 7):
        encoder = av.CodecContext.create("png", "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = WIDTH, HEIGHT, "rgb24", 1
        frame = av.VideoFrame.from_ndarray(picture(number))
        frame.pts = 0
        data = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
        (tmp_path / f"{number}.png").write_bytes(data)
    with open_video(tmp_path) as video:
        assert video.cheapest([(0, 3), (3, 6)]).tolist() == [1, 4]
        plan = video.plan([1, 4, 4])
        assert (plan.num_frames, plan.num_pictures) == (2, 2)
        assert plan.num_bytes == sum((tmp_path / name).stat().st_size for name in ("2.png", "5.png"))
        (tmp_path / "2.png").unlink()
        with pytest.raises(VideoError, match="cannot be read"):
            video.plan([1])


@pytest.mark.parametrize(
    ("codec", "data", "length_bytes", "expected"),
    [
        ("h264", "00000002 09f0 00000002 4180", 4, True),
        ("h264", "00000002 0180", 4, False),
        ("h264", "00000001 09f0 00000001 0180", 0, False),
        ("h264", "000001 6588", 0, True),
        ("hevc", "00000003 020180", 4, True),
        ("hevc", "00000003 000180", 4, False),
        ("hevc", "000001 260180", 0, True),
        ("mpeg2video", "00000100 00180000", 0, False),
        ("mpeg2video", "00000100 00100000", 0, True),
        ("vp9", "0000", 0, True),
        ("h264", "", 4, True),
        ("mpeg2video", "000001", 0, True),
    ],
)
def test_whether_others_may_refer_to_a_packet(codec, data, length_bytes, expected):
    assert refers(codec, memoryview(bytes.fromhex(data)), length_bytes) is expected


def units(*heads: int, tail: bytes = b"\x80\x12") -> memoryview:
    """A packet of units with these first bytes, each behind its length."""
    return memoryview(b"".join((1 + len(tail)).to_bytes(4, "big") + bytes([head]) + tail for head in heads))


@pytest.mark.parametrize(
    ("codec", "heads", "expected"),
    [
        ("h264", (0x01,), True),  # a slice that nothing refers to
        ("h264", (0x09, 0x06, 0x01, 0x01), True),  # delimiter, SEI, two slices
        ("h264", (0x41,), False),  # a slice that others refer to
        ("h264", (0x01, 0x41), False),
        ("h264", (0x68, 0x01), False),  # a picture parameter set comes with it
        ("h264", (0x67, 0x01), False),
        ("h264", (0x06,), False),  # no slice
        ("h264", (), False),
        ("hevc", (0 << 1,), True),  # TRAIL_N
        ("hevc", (35 << 1, 39 << 1, 8 << 1, 40 << 1), True),  # delimiter, SEI, RASL_N, SEI
        ("hevc", (1 << 1,), False),  # TRAIL_R
        ("hevc", (16 << 1,), False),  # BLA, even but above 14
        ("hevc", (34 << 1, 0 << 1), False),  # a picture parameter set
        ("hevc", (39 << 1,), False),
        ("mpeg2video", (0x01,), False),
    ],
)
def test_packets_that_the_decoder_need_not_get(codec, heads, expected):
    assert dispensable(codec, units(*heads), 4) is expected
    starts = b"".join(b"\0\0\1" + bytes([head]) + b"\x80\x12" for head in heads)
    assert dispensable(codec, memoryview(starts), 0) is expected
    assert not expected or not refers(codec, units(*heads), 4)
