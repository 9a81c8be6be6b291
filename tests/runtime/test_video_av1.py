"""AV1 packets without the frames that nothing refers to: which they are, and that nobody misses them."""

from __future__ import annotations

import re

import av
import av.logging
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from hypothesis import given
from hypothesis import strategies as st
from numbered_clips import Clip, has_encoder, plain_decode, to_rgb, write_clip
from weaksvr.runtime.video import open_video
from weaksvr.runtime.video_av1 import sequence_in_effect, without_unreferred
from weaksvr.runtime.video_decode import decode_run
from weaksvr.runtime.video_index import Run

CLIPS = [
    Clip("pyramid.mp4", "libsvtav1", {"preset": "8", "g": "48", "crf": "30"}),
    Clip("pyramid.mkv", "libsvtav1", {"preset": "8", "g": "48", "crf": "30"}),
    Clip("lowdelay.mp4", "libsvtav1", {"preset": "10", "g": "30", "svtav1-params": "pred-struct=1"}),
]
pytestmark = pytest.mark.skipif(not has_encoder("libsvtav1"), reason="no encoder of AV1 in this build of FFmpeg")


@pytest.fixture(scope="module", params=CLIPS, ids=str)
def path(request, tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("av1"), request.param)


def packets_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.codec_context.extradata, [bytes(packet) for packet in container.demux(stream) if packet.size]


def refreshed_slots(path):
    """Of each frame of each packet what FFmpeg's own parser of AV1 reads: refresh_frame_flags; None if shown again."""
    with av.open(str(path)) as container, av.logging.Capture() as said:
        previous = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)
        try:
            stream = container.streams.video[0]
            tracer = BitStreamFilterContext("trace_headers", stream)
            for packet in container.demux(stream):
                if packet.size:
                    said.append((0, "", "NEXT PACKET"))
                    tracer.filter(packet)
        finally:
            av.logging.set_level(previous)
    packets = "\n".join(line for _, _, line in said).split("NEXT PACKET")[1:]
    frame = re.compile(r"show_existing_frame +1 = 1|refresh_frame_flags +[01]+ = (\d+)")
    return [[None if m[1] is None else int(m[1]) for m in frame.finditer(text)] for text in packets]


def test_the_frames_that_are_left_out_are_those_that_refresh_nothing(path):
    extradata, packets = packets_of(path)
    expected = refreshed_slots(path)
    assert len(packets) == len(expected)
    sequence = sequence_in_effect(extradata[4:], None)
    left_out = 0
    for packet, slots in zip(packets, expected, strict=True):
        thinned = without_unreferred(packet, sequence)
        kept = [slot for slot in slots if slot != 0]
        if packet[:1] == b"\x0a" or len(kept) == len(slots):
            assert thinned == packet or not slots
        else:
            assert len(thinned) < len(packet)
            assert bool(thinned) == bool(kept)
            left_out += len(slots) - len(kept)
    assert left_out > 0 or "lowdelay" in str(path)


def test_no_frame_is_missing_without_them(path):
    frames, _ = plain_decode(path)
    with open_video(path, num_threads=1) as video:
        for number in range(video.num_frames):
            row = int(video._index.packet[number])
            starts = np.flatnonzero(video._reader.table.key[: row + 1])
            run = Run(start=int(starts[-1]), stop=row + 1, needed=frozenset([row]))
            found = []
            log = decode_run(
                video._source,
                video._reader,
                video._index,
                run,
                pending={number},
                sink=lambda _, frame, found=found: found.append(to_rgb(frame, 96, 128)),
                skip=True,
            )
            assert log is not None
            assert log.lines() == ()
            np.testing.assert_array_equal(found, [to_rgb(frames[number], 96, 128)])


def test_fewer_pictures_are_decoded(path):
    with open_video(path) as video:
        plan = video.plan([video.num_frames - 1])
        assert plan.num_pictures < plan.num_packets or "lowdelay" in str(path)


def test_whatever_cannot_be_told_stays_whole(path):
    extradata, packets = packets_of(path)
    sequence = sequence_in_effect(extradata[4:], None)
    assert without_unreferred(packets[5], None) == packets[5]
    assert without_unreferred(packets[0], sequence) == packets[0]
    assert sequence_in_effect(packets[0], None) == sequence
    assert sequence_in_effect(packets[5], sequence) == sequence
    assert sequence_in_effect(b"", sequence) == sequence
    assert sequence_in_effect(b"\x0a\x02\x18\x00", sequence) is None  # a still picture, and cut off


@given(data=st.binary(max_size=64), head=st.sampled_from([b"", b"\x0a\x0b", b"\x32\x10", b"\x1a\x05", b"\x32"]))
def test_any_bytes_are_taken(data, head):
    sequence = sequence_in_effect(bytes.fromhex("0a0b00000024c4ffdf3fdaf804"), None)
    whole = head + data
    sequence_in_effect(whole, sequence)
    assert len(without_unreferred(whole, sequence)) <= len(whole)
