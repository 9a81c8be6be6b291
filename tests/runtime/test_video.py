"""Frames of every kind of container are those that a plain decode of the whole file shows, bit for bit."""

from __future__ import annotations

import io
import itertools
import pathlib
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.reformatter import ColorRange
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_clips import (
    HEIGHT,
    LONG,
    NUM_FRAMES,
    OPEN,
    SHORT,
    WIDTH,
    Clip,
    has_encoder,
    plain_decode,
    read_number,
    spell,
    to_rgb,
    write_clip,
    x264,
    x265,
)
from weaksvr.runtime.errors import OptionError, VideoDecodeError, VideoError
from weaksvr.runtime.sampling import uniform_indices
from weaksvr.runtime.video import open_video, shorter_side_size
from weaksvr.runtime.video_index import NO_TIME, PacketTable, index_packets, plan_runs, shown_pictures

CLIPS = pathlib.Path(__file__).parents[2].parent / "shared" / "clips"
GAPS = tuple(number * 2 + (37 if number > 20 else 0) + (number % 3 == 0) for number in range(NUM_FRAMES))
MADE = [
    Clip("short.mp4", "libx264", SHORT),
    Clip("long.mp4", "libx264", LONG),
    Clip("opengop.mp4", "libx264", OPEN),
    Clip("opengop.mkv", "libx264", OPEN),
    Clip("opengop.ts", "libx264", OPEN),
    Clip("nob.mp4", "libx264", x264(keyint=20, bframes=0)),
    Clip("intra.mp4", "libx264", x264(keyint=1)),
    Clip("refresh.ts", "libx264", x264(keyint=20, intra_refresh=1, bframes=0)),
    Clip("short.ts", "libx264", SHORT),
    Clip("short.mkv", "libx264", SHORT),
    Clip("short.flv", "libx264", SHORT),
    Clip("short.avi", "libx264", SHORT),
    Clip("short.asf", "libx264", SHORT),
    Clip("short.mov", "libx264", SHORT),
    Clip("short.3gp", "libx264", SHORT),
    Clip("slices.mp4", "libx264", x264(keyint=16, slices=4, bframes=2)),
    Clip("interlaced.mp4", "libx264", x264(keyint=16, interlaced=1, bframes=2)),
    Clip("fragments.mp4", "libx264", SHORT, {"movflags": "frag_keyframe+empty_moov"}),
    Clip("vfr.mp4", "libx264", SHORT, timeline=GAPS),
    Clip("vfr.mkv", "libx264", LONG, timeline=GAPS),
    Clip("late.mp4", "libx264", SHORT, timeline=tuple(range(40, 40 + NUM_FRAMES))),
    Clip("tenbit.mp4", "libx264", SHORT, pixels="yuv420p10le"),
    Clip("chroma444.mp4", "libx264", SHORT, pixels="yuv444p"),
    Clip("fullrange.mp4", "libx264", SHORT, pixels="yuvj420p"),
    Clip("hevc.mp4", "libx265", x265(keyint=12, min_keyint=12, open_gop=0)),
    Clip("hevc_opengop.mp4", "libx265", x265(keyint=10, min_keyint=10, open_gop=1, bframes=4)),
    Clip("hevc_opengop.ts", "libx265", x265(keyint=10, min_keyint=10, open_gop=1, bframes=4)),
    Clip("hevc_tenbit.mkv", "libx265", x265(keyint=12), pixels="yuv420p10le"),
    Clip("mpeg4.mp4", "mpeg4", {"bf": "2", "g": "12"}),
    Clip("mpeg4.avi", "mpeg4", {"bf": "2", "g": "12"}),
    Clip("mpeg4_nob.avi", "mpeg4", {"bf": "0", "g": "12"}),
    Clip("mpeg2.ts", "mpeg2video", {"bf": "2", "g": "9"}),
    Clip("mpeg2.mpg", "mpeg2video", {"bf": "2", "g": "9"}),
    Clip("vp9.webm", "libvpx-vp9", {"g": "20", "deadline": "good", "cpu-used": "5", "lag-in-frames": "16"}),
    Clip("vp8.webm", "libvpx", {"g": "20", "deadline": "good", "cpu-used": "5"}),
    Clip("av1.mp4", "libsvtav1", {"preset": "10", "g": "20", "crf": "10"}),
    Clip("mjpeg.avi", "mjpeg", pixels="yuvj420p"),
    Clip("ffv1.mkv", "ffv1"),
    Clip("wmv2.wmv", "wmv2", {"g": "12"}),
    Clip("mpeg1.mkv", "mpeg1video", {"bf": "2", "g": "9"}),
    Clip("sorenson.flv", "flv", {"g": "12"}),
    Clip("prores.mov", "prores_ks", pixels="yuv422p10le"),
    Clip("jpeg2000.mov", "jpeg2000"),
]


@pytest.fixture(scope="session", autouse=True)
def quiet_encoders():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SVT_LOG", "1")
        yield


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session", params=MADE, ids=str)
def clip(request, clip_folder) -> tuple[pathlib.Path, list[av.VideoFrame], list[float]]:
    if not has_encoder(request.param.codec):
        pytest.skip(f"no encoder {request.param.codec} in this build of FFmpeg")
    path = write_clip(clip_folder, request.param)
    return path, *plain_decode(path)


# One contract for every container and codec.


def test_the_oracle_spells_its_numbers(clip):
    _, frames, _ = clip
    assert [read_number(to_rgb(frame, HEIGHT, WIDTH)) for frame in frames] == list(range(NUM_FRAMES))


@pytest.mark.parametrize("budget", [2**20, 0], ids=["memory", "disk"])
@pytest.mark.parametrize("threads", [1, 3])
def test_frames_equal_a_plain_decode(clip, budget, threads):
    path, frames, _ = clip
    rng = np.random.default_rng(threads)
    with open_video(path, num_threads=threads, packet_budget=budget) as video:
        assert (video.num_frames, video.height, video.width) == (len(frames), HEIGHT, WIDTH)
        for indices in (
            [59],
            [0],
            uniform_indices(60, 4),
            [17, 3, 3, 58, 17],
            rng.integers(0, 60, 9),
            rng.permutation(60),
        ):
            found = video.frames(indices)
            expected = np.stack([to_rgb(frames[index], HEIGHT, WIDTH) for index in indices])
            assert [read_number(picture) for picture in found] == list(indices)
            np.testing.assert_array_equal(found, expected)
        assert video.damaged == ()


def test_every_single_frame_by_itself(clip):
    path, frames, _ = clip
    with open_video(path, num_threads=1) as video:
        numbers = [read_number(video.frames([index], size=32)[0]) for index in range(video.num_frames)]
    assert numbers == list(range(len(frames)))


def test_scaled_frames_equal_scaled_plain_decode(clip):
    path, frames, _ = clip
    with open_video(path) as video:
        for size, height, width in ((48, 48, 64), ((30, 50), 30, 50), (130, 130, 173)):
            found = video.frames([31, 4], size=size)
            np.testing.assert_array_equal(found, np.stack([to_rgb(frames[i], height, width) for i in (31, 4)]))


def test_times_and_duration(clip):
    path, _, times = clip
    with open_video(path) as video:
        found = video.times(range(video.num_frames))
        assert found.dtype == np.float64
        assert found[0] == 0
        assert np.all(np.diff(found) > 0)
        if np.all(np.diff(times) > 0):  # AVI stores no presentation times
            np.testing.assert_allclose(found, times, atol=1e-6)
        np.testing.assert_allclose(found[[9, 1, 9]], video.times([9, 1, 9]))
        assert video.duration_seconds == pytest.approx(found[-1] + 0.04, abs=0.045)


# What a file can say about how its pictures are shown.

UNIT = 1 << 16
ORIENTATIONS = {
    "upright": ([1, 0, 0, 1], lambda p: p),
    "rotated_left": ([0, -1, 1, 0], np.rot90),
    "rotated_right": ([0, 1, -1, 0], lambda p: np.rot90(p, -1)),
    "upside_down": ([-1, 0, 0, -1], lambda p: np.rot90(p, 2)),
    "mirrored": ([-1, 0, 0, 1], lambda p: p[:, ::-1]),
    "flipped": ([1, 0, 0, -1], lambda p: p[::-1]),
    "transposed": ([0, 1, 1, 0], lambda p: p.transpose(1, 0, 2)),
    "transverse": ([0, -1, -1, 0], lambda p: np.rot90(p, 2).transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_frames_are_upright(tmp_path, name):
    (a, b, c, d), turn = ORIENTATIONS[name]
    matrix = [a * UNIT, b * UNIT, 0, c * UNIT, d * UNIT, 0, 0, 0, 1 << 30]
    path = write_clip(tmp_path, Clip("turned.mp4", "libx264", SHORT), matrix=matrix)
    frames, _ = plain_decode(path)
    upright = np.stack([turn(to_rgb(frames[i], HEIGHT, WIDTH)) for i in (40, 7)])
    small = np.stack([turn(to_rgb(frames[i], 48, 64)) for i in (40, 7)])
    with open_video(path) as video:
        assert (video.height, video.width) == upright.shape[1:3]
        np.testing.assert_array_equal(video.frames([40, 7]), upright)
        np.testing.assert_array_equal(video.frames([40, 7], size=48), small)
        np.testing.assert_array_equal(video.frames([40, 7], size=small.shape[1:3]), small)


def test_the_angle_of_rotation_is_ffmpegs(tmp_path):
    clip = Clip("quarter.mp4", "libx264", SHORT)
    path = tmp_path / clip.name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.set_display_rotation(90)
        for number in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(spell(number))))
        container.mux(stream.encode())
    frames, _ = plain_decode(path)
    assert frames[0].rotation == 90
    with open_video(path) as video:
        np.testing.assert_array_equal(video.frames([2])[0], np.rot90(to_rgb(frames[2], HEIGHT, WIDTH)))


def color_clip(
    folder: pathlib.Path, *, colorspace: int, color_range: int, pixels: str, transfer: int = 1
) -> pathlib.Path:
    """Patches of known RGB, converted here by the textbook formula, in a file that says which one."""
    kr, kb = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}[colorspace]
    red, green, blue = (PATCHES[:, channel] / 255 for channel in range(3))
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma_b, chroma_r = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    planes = np.stack([luma, chroma_b, chroma_r])
    full = color_range == ColorRange.JPEG
    scale, offset = (np.array([255, 255, 255]), [0, 128, 128]) if full else (np.array([219, 224, 224]), [16, 128, 128])
    values = np.rint(planes * scale[:, None] + np.array(offset)[:, None]).clip(0, 255).astype(np.uint8)
    yuv = np.repeat(np.repeat(values[:, None, :], 64, 1), 32, 2)
    if pixels == "yuv420p10le":
        yuv = yuv.astype(np.uint16) * 4
    path = folder / "colors.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = *yuv.shape[1:], pixels
        stream.codec_context.colorspace, stream.codec_context.color_range = colorspace, color_range
        stream.codec_context.color_trc = transfer
        stream.codec_context.color_primaries = colorspace
        frame = av.VideoFrame(yuv.shape[2], yuv.shape[1], pixels)
        frame.colorspace, frame.color_range = colorspace, color_range
        for plane, values_2d in zip(frame.planes, yuv, strict=True):
            step = 1 if plane.width == yuv.shape[2] else 2
            part = values_2d[::step, ::step]
            rows = np.zeros((plane.height, plane.line_size // part.itemsize), part.dtype)
            rows[:, : plane.width] = part
            plane.update(rows.tobytes())
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


PATCHES = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 120, 40], [128, 128, 128]])


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("color_range", [ColorRange.MPEG, ColorRange.JPEG])
@pytest.mark.parametrize("colorspace", [1, 6], ids=["bt709", "bt601"])
def test_colors_are_those_of_the_tagged_matrix_and_range(tmp_path, colorspace, color_range, pixels):
    path = color_clip(tmp_path, colorspace=colorspace, color_range=color_range, pixels=pixels)
    with open_video(path) as video:
        for size in (None, (48, len(PATCHES) * 32)):
            frame = video.frames([0], size=size)[0]
            found = frame[frame.shape[0] // 2, 16::32].astype(int)
            np.testing.assert_allclose(found, PATCHES, atol=3)


@pytest.mark.parametrize("transfer", [16, 18], ids=["PQ", "HLG"])
@pytest.mark.parametrize("color_range", [ColorRange.MPEG, ColorRange.JPEG])
def test_high_dynamic_range_keeps_its_code_values(tmp_path, color_range, transfer):
    """The matrix of BT.2020 is undone; curve and primaries stay as they are, nothing is tone-mapped."""
    path = color_clip(tmp_path, colorspace=9, color_range=color_range, pixels="yuv420p10le", transfer=transfer)
    frames, _ = plain_decode(path)
    assert (frames[0].color_trc, frames[0].color_primaries, frames[0].colorspace) == (transfer, 9, 9)
    with open_video(path) as video:
        frame = video.frames([0])[0]
        np.testing.assert_allclose(frame[frame.shape[0] // 2, 16::32].astype(int), PATCHES, atol=3)


@pytest.mark.parametrize("name", ["wide.mp4", "wide.mkv", "wide.ts"])
def test_pixels_are_taken_as_square(tmp_path, name):
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=SHORT)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        for number in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(spell(number))))
        container.mux(stream.encode())
    frames, _ = plain_decode(path)
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == 2
    with open_video(path) as video:
        assert (video.height, video.width) == (HEIGHT, WIDTH)
        np.testing.assert_array_equal(video.frames([3], size=48)[0], to_rgb(frames[3], 48, 64))


# Containers that do not show all that they hold.


def test_edit_list_cuts_frames_away(tmp_path):
    """Copied from the middle of a group of pictures on: the pictures before the cut are kept, but not shown."""
    whole = write_clip(tmp_path, Clip("whole.mp4", "libx264", LONG))
    path = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is None:
                continue
            shift = int(Fraction(20, 25) / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
            target.mux(packet)
    frames, times = plain_decode(path)
    numbers = [read_number(to_rgb(frame, HEIGHT, WIDTH)) for frame in frames]
    assert len(numbers) < NUM_FRAMES
    for budget in (2**20, 0):
        with open_video(path, packet_budget=budget) as video:
            assert video.num_frames == len(frames)
            assert [read_number(frame) for frame in video.frames(range(len(frames)))] == numbers
            assert [read_number(frame) for frame in video.frames([30, 0])] == [numbers[30], numbers[0]]
            np.testing.assert_allclose(video.times(range(len(frames))), times, atol=1e-6)
            assert video.damaged == ()


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_a_stream_that_starts_in_the_middle(tmp_path, codec):
    """Pictures that refer to what was cut off are shown by the index exactly if the decoder shows them."""
    options = {"libx264": OPEN, "libx265": x265(keyint=10, min_keyint=10, open_gop=1)}.get(
        codec, {"bf": "2", "g": "10"}
    )
    whole = write_clip(tmp_path, Clip("whole.ts", codec, options))
    path = tmp_path / "middle.ts"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(source.streams.video[0])):
            if packet.dts is not None and number >= 16:
                packet.stream = stream
                target.mux(packet)
    frames, _ = plain_decode(path)
    with open_video(path) as video:
        sound = [number for number, frame in enumerate(frames) if not frame.is_corrupt]
        assert video.num_frames == len(frames)
        expected = np.stack([to_rgb(frames[number], HEIGHT, WIDTH) for number in sound])
        np.testing.assert_array_equal(video.frames(sound), expected)


def test_two_streams_joined_end_to_end(tmp_path):
    """Time starts anew in the middle: the order of the decoder counts, not that of the time stamps."""
    one = write_clip(tmp_path, Clip("one.ts", "libx264", SHORT))
    path = tmp_path / "joined.ts"
    path.write_bytes(one.read_bytes() * 2)
    frames, _ = plain_decode(path)
    numbers = [read_number(to_rgb(frame, HEIGHT, WIDTH)) for frame in frames]
    with open_video(path) as video:
        assert video.num_frames == len(frames)
        assert [read_number(frame) for frame in video.frames(range(len(frames)))] == numbers
        assert np.all(np.diff(video.times(range(len(frames)))) > 0)


def test_the_best_stream_is_read_and_sound_is_not(tmp_path):
    path = tmp_path / "streams.mp4"
    with av.open(str(path), "w") as container:
        small = container.add_stream("libx264", rate=25)
        small.width, small.height, small.pix_fmt = 32, 32, "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        large = container.add_stream("libx264", rate=25, options=SHORT)
        large.width, large.height, large.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        small.disposition, large.disposition = Disposition(0), Disposition.default
        for number in range(20):
            container.mux(small.encode(av.VideoFrame.from_ndarray(spell(number, 32, 32))))
            container.mux(large.encode(av.VideoFrame.from_ndarray(spell(number))))
            container.mux(sound.encode(silence))
        for stream in (small, sound, large):
            container.mux(stream.encode())
    with open_video(path) as video:
        assert (video.num_frames, video.height, video.width) == (20, HEIGHT, WIDTH)
        assert [read_number(frame) for frame in video.frames([19, 2])] == [19, 2]


def test_size_that_changes_in_the_middle_is_scaled_to_the_first(tmp_path):
    path = tmp_path / "changes.ts"
    parts = []
    for height, width in ((HEIGHT, WIDTH), (2 * HEIGHT, 2 * WIDTH)):
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mpegts") as container:
            stream = container.add_stream("libx264", rate=25, options=SHORT)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for number in range(20):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(spell(number, height, width))))
            container.mux(stream.encode())
        parts.append(buffer.getvalue())
    path.write_bytes(b"".join(parts))
    frames, _ = plain_decode(path)
    assert {frame.width for frame in frames} == {WIDTH, 2 * WIDTH}
    with open_video(path) as video:
        found = video.frames(range(video.num_frames))
    assert found.shape == (len(frames), HEIGHT, WIDTH, 3)
    assert [read_number(frame) for frame in found] == [*range(20), *range(20)]


# Which packets are decoded.


def table_of(pts: list[int], keys: list[int]) -> PacketTable:
    size = len(pts)
    return PacketTable(
        pts=np.array(pts, np.int64),
        dts=np.arange(size),
        duration=np.ones(size, np.int64),
        size=np.full(size, 1000),
        key=np.isin(np.arange(size), keys),
        shown=np.ones(size, bool),
    )


def test_plan_starts_a_leading_picture_one_key_earlier():
    table = table_of([0, 3, 1, 2, 6, 4, 5, 7, 10, 8, 9], [0, 4, 8])
    assert [(run.start, run.stop) for run in plan_runs(table, [5], earlier_keys=0, gap=0)] == [(0, 6)]
    assert [(run.start, run.stop) for run in plan_runs(table, [7], earlier_keys=0, gap=0)] == [(4, 8)]
    assert [(run.start, run.stop) for run in plan_runs(table, [8], earlier_keys=1, gap=0)] == [(4, 9)]
    assert [(run.start, run.stop) for run in plan_runs(table, [1, 7], earlier_keys=0, gap=0)] == [(0, 2), (4, 8)]
    assert [(run.start, run.stop) for run in plan_runs(table, [1, 7], earlier_keys=0, gap=3)] == [(0, 8)]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_plan_covers_every_wanted_packet_from_a_key(data):
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    keys = np.cumsum([0, *lengths[:-1]]).tolist()
    table = table_of(list(range(sum(lengths))), keys)
    wanted = data.draw(st.lists(st.integers(0, sum(lengths) - 1), min_size=1, unique=True))
    runs = plan_runs(table, wanted, earlier_keys=0, gap=data.draw(st.integers(0, 5)))
    assert sorted(packet for run in runs for packet in run.needed) == sorted(wanted)
    assert all(run.start in keys and run.start <= min(run.needed) and run.stop == max(run.needed) + 1 for run in runs)
    assert all(one.stop <= two.start for one, two in itertools.pairwise(runs))


@pytest.mark.parametrize(
    ("pts", "keys"),
    [
        ([0, 1, NO_TIME], [0]),
        ([0, 1, 1], [0]),
        ([0, 1, 2], [1]),
        ([2, 0, 1, 3], [0]),
        ([0, 1, 2, 1, 3], [0, 2]),
    ],
    ids=["absent", "double", "no key first", "leading first", "back in time"],
)
def test_packets_that_do_not_tell_are_not_believed(pts, keys):
    assert index_packets(table_of(pts, keys), codec="h264", progressive=True, timed=True) is None


def test_packets_that_tell_are_believed():
    index = index_packets(table_of([0, 3, 1, 2], [0]), codec="h264", progressive=True, timed=True)
    assert index is not None
    assert index.packet is not None
    assert index.packet.tolist() == [0, 2, 3, 1]
    for codec, progressive, timed in (("h264", False, True), ("h264", True, False), ("unknown", True, True)):
        assert index_packets(table_of([0, 1], [0]), codec=codec, progressive=progressive, timed=timed) is None


def test_hidden_pictures_of_vp8_and_vp9():
    shown, hidden = bytes([0b10000010, 0, 0]), bytes([0b10000000, 0, 0])
    marker = 0b11000001
    superframe = hidden + shown + bytes([marker, 3, 3, marker])
    assert [shown_pictures("vp9", memoryview(data)) for data in (shown, hidden, superframe)] == [1, 0, 1]
    assert shown_pictures("vp9", memoryview(bytes([0b10001000]))) == 1
    assert shown_pictures("vp8", memoryview(bytes([0b00010000]))) == 1
    assert shown_pictures("vp8", memoryview(bytes([0b00000001]))) == 0
    assert shown_pictures("h264", memoryview(b"\0")) == 1


@pytest.mark.parametrize(("codec", "hide"), [("libvpx", [7, 20, 33]), ("libvpx-vp9", [20, 40])])
@pytest.mark.parametrize("budget", [2**20, 0], ids=["memory", "disk"])
def test_hidden_pictures_are_not_counted(tmp_path, codec, hide, budget):
    """The bit that shows a picture is cleared in some packets, as encoders do for pictures that only serve others."""
    if not has_encoder(codec):
        pytest.skip(f"no encoder {codec} in this build of FFmpeg")
    options = {"g": "20", "keyint_min": "20", "deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    whole = write_clip(tmp_path, Clip("whole.webm", codec, options))
    path = tmp_path / "hidden.webm"
    bit = 0b00010000 if codec == "libvpx" else 0b00000010
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            data = bytearray(bytes(packet))
            data[0] &= ~bit if number in hide else 0xFF
            packet.update(bytes(data))
            packet.stream = stream
            target.mux(packet)
    frames, _ = plain_decode(path)
    numbers = [read_number(to_rgb(frame, HEIGHT, WIDTH)) for frame in frames]
    assert numbers == [number for number in range(NUM_FRAMES) if number not in hide]
    with open_video(path, packet_budget=budget) as video:
        assert video.num_frames == len(frames)
        assert [read_number(frame) for frame in video.frames([30, 20, 56])] == [numbers[30], numbers[20], numbers[56]]
        assert video.damaged == ()


# Arguments.


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("short"), Clip("short.mp4", "libx264", SHORT))


@pytest.mark.parametrize("indices", [[60], [-1], [0, 99]])
def test_indices_out_of_range(short, indices):
    with open_video(short) as video:
        with pytest.raises(OptionError, match=r"short\.mp4: has no frame -?\d+; its frames are 0 to 59"):
            video.frames(indices)
        with pytest.raises(OptionError, match="has no frame"):
            video.times(indices)


@pytest.mark.parametrize(("indices", "why"), [([0.5], "must be integers"), ([[1, 2]], "one row"), (["a"], "integers")])
def test_indices_that_are_none(short, indices, why):
    with open_video(short) as video, pytest.raises(OptionError, match=why):
        video.frames(indices)


@pytest.mark.parametrize("size", [0, -3, (0, 5), (10**6, 10**6), "big", (1, 2, 3), 2.5])
def test_sizes_that_cannot_be_meant(short, size):
    with open_video(short) as video, pytest.raises(OptionError, match="size = "):
        video.frames([0], size=size)


@pytest.mark.parametrize("option", [{"num_threads": -1}, {"packet_budget": -1}])
def test_options_that_cannot_be_meant(short, option):
    with pytest.raises(OptionError, match=next(iter(option))):
        open_video(short, **option)


def test_no_indices_are_no_frames(short):
    with open_video(short) as video:
        assert video.frames([], size=20).shape == (0, 20, 26, 3)
        assert video.times([]).shape == (0,)


def test_a_closed_video_says_so(short):
    video = open_video(short)
    video.close()
    video.close()
    with pytest.raises(VideoError, match="is closed"):
        video.frames([0])


@pytest.mark.parametrize(("height", "width", "size", "expected"), [(720, 1280, 224, (224, 398)), (9, 4, 3, (6, 3))])
def test_shorter_side(height, width, size, expected):
    assert shorter_side_size(height, width, size) == expected


def test_importing_loads_no_decoder():
    code = (
        "import sys, weaksvr.runtime.video, weaksvr.runtime.preprocess as p; print(*({'av', 'torch'} & {*sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


# A folder of numbered frames keeps the same contract.


def write_image(path: pathlib.Path, picture: np.ndarray) -> None:
    codec, pixels = ("png", "rgb24") if path.suffix.lower() == ".png" else ("mjpeg", "yuvj444p")
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = picture.shape[1], picture.shape[0], pixels
    encoder.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(picture).reformat(format=pixels)
    frame.pts = 0
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))


def write_folder(folder: pathlib.Path, pattern: str, start: int = 1, count: int = 12) -> pathlib.Path:
    folder.mkdir()
    for number in range(count):
        write_image(folder / pattern.format(number + start), spell(number))
    return folder


@pytest.mark.parametrize(
    ("pattern", "start"), [("{}.jpg", 1), ("{:05d}.JPG", 1), ("{}.jpeg", 0), ("{}.png", 1)], ids=str
)
def test_folder_of_frames(tmp_path, pattern, start):
    folder = write_folder(tmp_path / "frames", pattern, start)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "note.jpg").write_bytes(b"x")
    with open_video(folder) as video:
        assert (video.num_frames, video.height, video.width, video.damaged) == (12, HEIGHT, WIDTH, ())
        assert [read_number(frame) for frame in video.frames([11, 0, 5, 11])] == [11, 0, 5, 11]
        assert video.frames([3], size=48).shape == (1, 48, 64, 3)
        np.testing.assert_allclose(video.times([0, 11]), [0, 11 / 25])
        assert video.duration_seconds == pytest.approx(12 / 25)
        with pytest.raises(OptionError, match="has no frame 12"):
            video.frames([12])
        if pattern.endswith("png"):
            np.testing.assert_array_equal(video.frames([7])[0], spell(7))
        else:
            assert np.abs(video.frames([7])[0].astype(int) - spell(7)).mean() < 6
    with pytest.raises(VideoError, match="is closed"):
        video.frames([0])


def test_a_frame_of_a_folder_that_vanishes(tmp_path):
    folder = write_folder(tmp_path / "frames", "{}.jpg")
    with open_video(folder) as video:
        (folder / "4.jpg").unlink()
        with pytest.raises(VideoDecodeError, match=r"4\.jpg: has been removed"):
            video.frames([3])


# Real footage.


def real_clips() -> list[pathlib.Path]:
    return sorted(path for path in CLIPS.glob("*") if path.suffix in {".mp4", ".mkv"}) if CLIPS.is_dir() else []


@pytest.mark.skipif(not real_clips(), reason="no real clips beside the repository")
@pytest.mark.parametrize("path", real_clips(), ids=lambda path: path.stem)
def test_real_clips_equal_a_plain_decode(path):
    with open_video(path) as video, av.open(str(path)) as container:
        wanted = set(uniform_indices(video.num_frames, 16).tolist())
        height, width = shorter_side_size(video.height, video.width, 64)
        stream = container.streams.best("video")
        stream.thread_type = "AUTO"
        expected = {}
        count = 0
        for frame in container.decode(stream):
            if count in wanted:
                expected[count] = to_rgb(frame, height, width)
            count += 1
        assert video.num_frames == count
        indices = sorted(wanted)
        np.testing.assert_array_equal(video.frames(indices, size=64), np.stack([expected[i] for i in indices]))
        assert video.damaged == ()
