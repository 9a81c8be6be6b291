"""What a plain MP4 file says about its packets is what FFmpeg finds when it reads them all."""

from __future__ import annotations

import struct

import av
import numpy as np
import pytest
from numbered_clips import LONG, OPEN, SHORT, Clip, has_encoder, read_number, write_clip, x264, x265
from weaksvr.runtime.errors import VideoError
from weaksvr.runtime.video import open_video
from weaksvr.runtime.video_index import NO_TIME
from weaksvr.runtime.video_packets import open_source
from weaksvr.runtime.video_samples import open_samples

PLAIN = [
    Clip("short.mp4", "libx264", SHORT),
    Clip("short.mov", "libx264", SHORT),
    Clip("short.3gp", "libx264", SHORT),
    Clip("long.mp4", "libx264", LONG),
    Clip("opengop.mp4", "libx264", OPEN),
    Clip("interlaced.mp4", "libx264", x264(keyint=16, interlaced=1, bframes=2)),
    Clip("late.mp4", "libx264", SHORT, timeline=tuple(range(40, 100))),
    Clip("uneven.mp4", "libx264", SHORT, timeline=tuple(number**2 for number in range(60))),
    Clip("hevc.mp4", "libx265", x265(keyint=10, min_keyint=10, open_gop=1, bframes=4)),
    Clip("av1.mp4", "libsvtav1", {"preset": "10", "g": "20", "crf": "10"}),
    Clip("faststart.mp4", "libx264", SHORT, {"movflags": "faststart"}),
    Clip("negative.mp4", "libx264", SHORT, {"movflags": "negative_cts_offsets"}),
    Clip("one.mp4", "libx264", SHORT, timeline=(0,)),
]
OTHERS = [
    Clip("fragments.mp4", "libx264", SHORT, {"movflags": "frag_keyframe+empty_moov"}),
    Clip("tail.mp4", "libx264", SHORT, {"movflags": "frag_keyframe"}),
    Clip("mpeg4.mp4", "mpeg4", {"bf": "2", "g": "12"}),
    Clip("short.mkv", "libx264", SHORT),
]


def demuxed(path):
    """Of every packet: pts, dts, size, key, bytes."""
    with av.open(str(path), metadata_errors="replace") as container:
        return [
            (packet.pts, packet.dts, packet.size, packet.is_keyframe, bytes(packet))
            for packet in container.demux(container.streams.video[0])
            if packet.size
        ]


def sampled(path):
    """The same by the tables of the file; None if it does not count as plain."""
    source = open_source(str(path), "video", num_threads=1)
    try:
        packets = source.container.demux(source.stream)
        samples = open_samples(
            source, str(path), lambda count: [p for p, _ in zip(packets, range(count), strict=False)]
        )
        if samples is None:
            return None
        try:
            table = samples.table
            assert table.shown.all()
            columns = (table.pts.tolist(), table.dts.tolist(), table.size.tolist(), table.key.tolist())
            assert NO_TIME not in columns[0]
            return [*zip(*columns, (samples.read(row) for row in range(len(table))), strict=True)]
        finally:
            samples.close()
    finally:
        source.container.close()


@pytest.mark.parametrize("clip", PLAIN, ids=str)
def test_the_tables_tell_what_reading_tells(clip, tmp_path):
    if not has_encoder(clip.codec):
        pytest.skip(f"no encoder {clip.codec} in this build of FFmpeg")
    path = write_clip(tmp_path, clip)
    assert sampled(path) == demuxed(path)


@pytest.mark.parametrize("clip", OTHERS, ids=str)
def test_other_files_are_not_plain(clip, tmp_path):
    assert sampled(write_clip(tmp_path, clip)) is None


def test_a_file_that_is_cut_off_is_not_plain(tmp_path):
    path = write_clip(tmp_path, Clip("cut.mp4", "libx264", SHORT, {"movflags": "faststart"}))
    path.write_bytes(path.read_bytes()[:-100])
    assert sampled(path) is None


def test_the_duration_of_the_last_frame(tmp_path):
    path = write_clip(tmp_path, Clip("vfr.mp4", "libx264", SHORT, timeline=(0, 1, 2, 10, 30)))
    with open_video(path) as video:
        assert video._reader._samples is not None
        last = video.duration_seconds - video.times([4])[0]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        durations = {packet.pts: packet.duration for packet in container.demux(stream) if packet.size}
        assert last == pytest.approx(float(durations[max(durations)] * stream.time_base))


def test_a_file_that_shrinks_while_it_is_open(tmp_path):
    path = write_clip(tmp_path, Clip("shrinks.mp4", "libx264", SHORT, {"movflags": "faststart"}))
    with open_video(path, num_threads=1) as video:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
        with pytest.raises(VideoError, match="has changed since it was opened"):
            video.frames([59])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file of more packets than are compared, and where its tables are."""
    folder = tmp_path_factory.mktemp("fuzzed")
    path = write_clip(folder, Clip("whole.mp4", "libx264", SHORT, timeline=tuple(range(0, 180, 3))))
    data = path.read_bytes()
    return folder, data, data.index(b"stbl")


def agree(path):
    """Whether the tables, if they are trusted, say what FFmpeg says; of key pictures it judges by their content too."""
    try:
        found = sampled(path)
    except (av.FFmpegError, VideoError):
        return True
    if found is None:
        return True
    return [packet[:3] + packet[4:] for packet in found] == [packet[:3] + packet[4:] for packet in demuxed(path)]


@pytest.mark.parametrize("seed", range(4))
def test_damaged_tables_are_read_as_ffmpeg_reads_them_or_not_at_all(whole, seed):
    folder, data, start = whole
    path = folder / "changed.mp4"
    rng = np.random.default_rng(seed)
    for _ in range(60):
        changed = bytearray(data)
        place = rng.integers(start, len(data))
        changed[place] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        path.write_bytes(changed)
        assert agree(path), f"byte {place} = {changed[place]}"


@pytest.mark.parametrize("box", ["ctts", "stts", "stsz", "stco", "stss", "stsd", "elst"])
@pytest.mark.parametrize("value", [0, 1, -1, 2**31 - 1, -(2**31), -(2**29), 12800])
def test_numbers_that_cannot_be_meant(whole, box, value):
    folder, data, _ = whole
    place = data.index(box.encode())
    path = folder / "number.mp4"
    for entry in range(12):
        changed = bytearray(data)
        struct.pack_into(">i", changed, place + 8 + 4 * entry, value)
        path.write_bytes(changed)
        assert agree(path)


def test_frames_by_the_tables_are_those_that_were_written(tmp_path):
    path = write_clip(tmp_path, Clip("numbers.mp4", "libx264", SHORT))
    with open_video(path) as video:
        assert video._reader._samples is not None
        numbers = [3, 59, 30, 31]
        assert [read_number(picture) for picture in video.frames(np.array(numbers))] == numbers
