"""Whatever is not a sound video is refused in one clear line, or used and said to be damaged. Nothing blocks."""

from __future__ import annotations

import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import threading
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from weaksvr.runtime.errors import OptionError, VideoDecodeError, VideoError, VideoFormatError, VideoNotFoundError
from weaksvr.runtime.video import Video, open_video

HEIGHT, WIDTH, NUM_FRAMES = 64, 96, 50


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    noise = np.random.default_rng(number).integers(0, 60, (height, width, 3))
    ramp = np.add.outer(np.arange(height), np.arange(width) + 3 * number)[..., None] * np.array([1, 2, 3])
    return ((ramp + noise) % 256).astype(np.uint8)


def write_video(
    path: pathlib.Path, *, codec: str = "libx264", pixels: str = "yuv420p", sound: bool = False, **options: str
) -> pathlib.Path:
    options = options or {"x264-params": "keyint=10:min-keyint=10:scenecut=0:bframes=2"}
    with av.open(str(path), "w", container_options={"movflags": "faststart"}) as container:
        stream = container.add_stream(codec, rate=25, options=options if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        for number in range(NUM_FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number))))
        container.mux(stream.encode())
    return path


def write_sound(path: pathlib.Path, *, cover: bool = False) -> pathlib.Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        if cover:
            image = container.add_stream("mjpeg", rate=25)
            image.width, image.height, image.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
            image.disposition = Disposition.attached_pic
            container.mux(image.encode(av.VideoFrame.from_ndarray(picture(0))))
            container.mux(image.encode())
        for _ in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_image(path: pathlib.Path, codec: str = "mjpeg") -> pathlib.Path:
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height = WIDTH, HEIGHT
    encoder.pix_fmt = "rgb24" if codec == "png" else "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(picture(0)).reformat(format=encoder.pix_fmt)
    frame.pts = 0
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))
    return path


def refused(path: str | os.PathLike[str], kind: type[VideoError], match: str) -> None:
    """Opening raises exactly `kind`, in one line that starts with the path, and returns at once."""
    found: list[BaseException] = []

    def attempt() -> None:
        try:
            open_video(path).close()
        except BaseException as error:  # noqa: BLE001 (handed to the test's own thread)
            found.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), f"opening {path!r} blocks"
    with pytest.raises(kind, match=match) as info:
        raise found[0] if found else AssertionError("was opened")
    assert type(info.value) is kind
    assert "\n" not in str(info.value)
    if os.fspath(path).isprintable():
        assert str(info.value).startswith(f"{os.fspath(path)}: ") or str(info.value).startswith(f"{os.fspath(path)}/")


@pytest.fixture(scope="module")
def sound_video(tmp_path_factory) -> pathlib.Path:
    return write_video(tmp_path_factory.mktemp("sound") / "a.mp4")


# Nothing there, or nothing that may be opened.


@pytest.mark.parametrize("name", ["nothing.mp4", "no/folder/a.mp4", "dangling.mp4", "nul\0byte.mp4", "line\nbreak.mp4"])
def test_missing(tmp_path, name):
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "gone")
    refused(f"{tmp_path}/{name}", VideoNotFoundError, "no such file or folder")


def test_path_through_a_file(sound_video):
    refused(sound_video / "inner.mp4", VideoNotFoundError, "no such file or folder")


def test_name_that_is_too_long(tmp_path):
    refused(tmp_path / ("a" * 5000), VideoNotFoundError, "cannot be found")


@pytest.mark.parametrize(
    "address",
    [
        "http://example.com/a.mp4",
        "https://example.com/a.mp4",
        "rtsp://host/a",
        "file:a.mp4",
        "concat:a.mp4|b.mp4",
        "subfile,,start,0,end,100,,:a.mp4",
        "pipe:0",
        "data:video/mp4;base64,AAAA",
    ],
)
def test_addresses(tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    refused(address, VideoFormatError, "is an address, not a local file; fetch it first")


def test_empty_file(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    refused(path, VideoFormatError, "is an empty file")


def test_fifo_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    refused(tmp_path / "pipe.mp4", VideoFormatError, "is a pipe, socket or device")


def test_socket_and_device(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.mp4")
        refused("socket.mp4", VideoFormatError, "is a pipe, socket or device")
    refused("/dev/zero", VideoFormatError, "is a pipe, socket or device")


def test_permission_denied(tmp_path):
    path = write_image(tmp_path / "locked.mp4")
    path.chmod(0)
    code = (
        "import os, sys, av\n"
        "from weaksvr.runtime.errors import VideoError\n"
        "from weaksvr.runtime import video, video_file\n"
        "if os.geteuid() == 0: os.seteuid(65534)\n"
        "try: video.open_video(sys.argv[1])\n"
        "except VideoError as error: print(type(error).__name__, error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert found.stdout == f"VideoError {path}: may not be read (permission denied); change its permissions\n"


# Files that are no videos.


def test_header_that_is_cut_off(tmp_path, sound_video):
    path = tmp_path / "cut.mp4"
    for size in (20, 200, 700):
        path.write_bytes(sound_video.read_bytes()[:size])
        refused(path, VideoFormatError, "its header is cut off|is cut off after its header")


def test_pictures_that_are_all_cut_off(tmp_path, sound_video):
    path = tmp_path / "cut.mp4"
    data = sound_video.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 4])
    refused(path, VideoFormatError, "cut off")


@pytest.mark.parametrize("cover", [False, True])
def test_sound_alone(tmp_path, cover):
    refused(write_sound(tmp_path / "song.mp4", cover=cover), VideoFormatError, "has no video, only sound")


TEXTS = {
    "words": b"This is not a video.\n",
    "ffconcat": b"ffconcat version 1.0\nfile a.mp4\n",
    "m3u8": b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:2.0,\na.ts\n#EXT-X-ENDLIST\n",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "dash": b"<?xml version='1.0'?>\n<MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><Period/></MPD>\n",
    "unicode": "ein Verzeichnis für Zürich\n".encode() * 60,
}


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("kind", TEXTS)
def test_text_and_playlists(tmp_path, sound_video, kind, suffix):
    (tmp_path / "a.mp4").write_bytes(sound_video.read_bytes())
    path = tmp_path / f"script.{suffix}"
    path.write_bytes(TEXTS[kind])
    refused(path, VideoFormatError, "is a text file")


@pytest.mark.parametrize("kind", ["ffconcat", "m3u8", "sdp"])
def test_playlists_that_do_not_look_like_text(tmp_path, sound_video, kind):
    """The demuxers that follow other files are off, whatever the file looks like."""
    (tmp_path / "a.mp4").write_bytes(sound_video.read_bytes())
    path = tmp_path / "script.mp4"
    head, _, rest = TEXTS[kind].partition(b"\n")
    path.write_bytes(head + b"\n# \x01\x00\n" + rest)
    refused(path, VideoFormatError, "is not a video that can be read")


OTHERS = {
    "zip": b"PK\x03\x04" + bytes(300),
    "elf": b"\x7fELF" + bytes(range(256)) * 4,
    "zeros": bytes(5000),
    "noise": np.random.default_rng(3).bytes(20000),
    "gif": bytes.fromhex("474946383961010001008000000000ffffff2c00000000010001000002024401003b"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files(tmp_path, kind):
    path = tmp_path / "other.mp4"
    path.write_bytes(OTHERS[kind])
    refused(path, VideoFormatError, "is not a video that can be read")


@pytest.mark.parametrize("codec", ["mjpeg", "png"])
def test_still_images(tmp_path, codec):
    for name in ("picture.mp4", "picture.jpg"):
        refused(write_image(tmp_path / name, codec), VideoFormatError, "is not a video that can be read")


def test_frames_that_are_absurdly_large(tmp_path):
    path = write_video(tmp_path / "large.avi", codec="mjpeg", pixels="yuvj420p")
    data = bytearray(path.read_bytes())
    place = data.index(b"strf") + 12
    assert struct.unpack_from("<ii", data, place) == (WIDTH, HEIGHT)
    struct.pack_into("<ii", data, place, 30000, 30000)
    for match in re.finditer(rb"\xff\xc0\x00\x11\x08", bytes(data)):
        struct.pack_into(">HH", data, match.end(), 30000, 30000)
    path.write_bytes(data)
    refused(path, VideoFormatError, "too large|no picture of it can be decoded")


# Folders.


def numbered_folder(tmp_path: pathlib.Path, names: list[str]) -> pathlib.Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for name in names:
        write_image(folder / name)
    return folder


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ([], "is a folder without numbered frames"),
        (["a.jpg", "frame1.jpg", "1.bmp"], "is a folder without numbered frames"),
        (["1.jpg", "2.jpg", "4.jpg"], "frame 3 is missing"),
        (["5.jpg", "6.jpg"], "start at 5; they must start at 1 or 0"),
        (["1.jpg", "01.jpg"], "frame 1 is there twice"),
    ],
)
def test_folders_that_are_no_videos(tmp_path, names, match):
    refused(numbered_folder(tmp_path, names), VideoFormatError, match)


def test_folder_with_a_fifo(tmp_path):
    folder = numbered_folder(tmp_path, ["1.jpg"])
    os.mkfifo(folder / "2.jpg")
    refused(folder, VideoFormatError, r"2\.jpg is not a regular file")


def test_folder_whose_first_frame_is_no_picture(tmp_path):
    folder = numbered_folder(tmp_path, ["2.jpg"])
    (folder / "1.jpg").write_text("hello")
    refused(folder, VideoFormatError, r"1\.jpg: is neither a JPEG nor a PNG")


def test_damaged_frames_of_a_folder(tmp_path):
    folder = numbered_folder(tmp_path, ["1.jpg", "2.jpg", "3.jpg", "5.jpg", "6.jpg"])
    whole = (folder / "1.jpg").read_bytes()
    write_image(folder / "4.png", "png")
    png = (folder / "4.png").read_bytes()
    (folder / "2.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "3.jpg").write_bytes(b"")
    (folder / "4.png").write_bytes(png[: len(png) // 2])
    bomb = struct.pack(">4sIIBBBBB", b"IHDR", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = png[:8] + struct.pack(">I", 13) + bomb + struct.pack(">I", zlib.crc32(bomb)) + png[33:]
    (folder / "5.jpg").write_bytes(bomb)
    with open_video(folder) as video:
        assert video.frames([0, 5]).shape == (2, HEIGHT, WIDTH, 3)
        for number, kind, match in (
            (1, VideoDecodeError, r"frames/2\.jpg: is cut off"),
            (2, VideoFormatError, r"frames/3\.jpg: is neither"),
            (3, VideoDecodeError, r"frames/4\.png: is cut off"),
            (4, VideoDecodeError, r"frames/5\.jpg: cannot be decoded, or is larger"),
        ):
            with pytest.raises(kind, match=match):
                video.frames([0, number])


# Videos that are damaged in part.


def sound_frames(path: pathlib.Path, indices: list[int]) -> np.ndarray:
    with open_video(path) as video:
        assert video.damaged == ()
        return video.frames(indices)


def damage_packet(source: pathlib.Path, target: pathlib.Path, number: int) -> None:
    """Flip some bytes in the middle of one packet, in place."""
    with av.open(str(source)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][number]
        place, size = packet.pos, packet.size
    data = bytearray(source.read_bytes())
    for offset in range(place + size // 3, place + size // 3 + min(40, size // 2)):
        data[offset] ^= 0x5A
    target.write_bytes(data)


def decodes(video: Video, number: int) -> bool:
    message = ""
    try:
        video.frames([number])
    except VideoDecodeError as error:
        message = str(error)
    assert not message or f"frame {number} at {number / 25:.2f} s cannot be decoded, or only with damage" in message
    return not message


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("budget", [2**20, 0], ids=["memory", "disk"])
def test_one_damaged_packet(tmp_path, sound_video, threads, budget):
    """Frames of other groups of pictures are untouched; the one that is hit is refused, by number and time."""
    path = tmp_path / "hit.mp4"
    damage_packet(sound_video, path, 20)  # a key packet: frames 20 to 29 hang on it
    away = [0, 7, 19, 30, 49]
    with open_video(path, num_threads=threads, packet_budget=budget) as video:
        assert video.num_frames == NUM_FRAMES
        np.testing.assert_array_equal(video.frames(away), sound_frames(sound_video, away))
        assert not decodes(video, 20)
        assert all(decodes(video, number) for number in away)


def test_damage_before_an_asked_frame_is_said(tmp_path, sound_video):
    path = tmp_path / "hit.mp4"
    damage_packet(sound_video, path, 20)
    with open_video(path) as video:
        assert video.frames([25]).shape == (1, HEIGHT, WIDTH, 3)
        assert any("damaged pictures: 1, the first at 0.80 s" in line for line in video.damaged)
        assert any(line.startswith("frames asked for that may show traces of damage") for line in video.damaged)
        before = video.damaged
        video.frames([25])
        assert video.damaged == before


def test_file_that_is_cut_off_in_the_middle(tmp_path, sound_video):
    path = tmp_path / "cut.mp4"
    data = sound_video.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with open_video(path) as video:
        assert 20 < video.num_frames < NUM_FRAMES
        assert any(line.startswith("cut off: ") and line.endswith("of 50 packets are there") for line in video.damaged)
        np.testing.assert_array_equal(video.frames([0, 15]), sound_frames(sound_video, [0, 15]))
        with pytest.raises(OptionError, match="has no frame 49"):
            video.frames([49])


def test_transport_stream_with_a_hole(tmp_path):
    whole = write_video(tmp_path / "whole.ts")
    data = whole.read_bytes()
    path = tmp_path / "hole.ts"
    hole = len(data) // 2 // 188 * 188
    path.write_bytes(data[:hole] + data[hole + 188 * 3 :])
    with open_video(path) as video:
        assert video.damaged
        results = [decodes(video, number) for number in (0, 5, video.num_frames - 1)]
        assert all(results)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
@pytest.mark.parametrize("seed", range(6))
def test_random_damage_ends_in_frames_or_one_clear_error(tmp_path, suffix, seed):
    whole = write_video(tmp_path / f"whole.{suffix}")
    rng = np.random.default_rng(seed)
    data = bytearray(whole.read_bytes())
    for place in rng.integers(0, len(data), 10 * (seed + 1)):
        data[place] = rng.integers(256)
    if seed % 2:
        del data[rng.integers(100, len(data)) :]
    path = tmp_path / f"random.{suffix}"
    path.write_bytes(data)
    message = ""
    try:
        with open_video(path, packet_budget=2**20 * (seed % 3)) as video:
            indices = np.linspace(0, video.num_frames - 1, 8).astype(int)
            assert video.frames(indices, size=32).shape[0] == 8
    except VideoError as error:
        message = str(error)
    assert not message or (message.startswith(f"{path}: ") and "\n" not in message)


def test_file_that_changes_while_it_is_open(tmp_path, sound_video):
    path = tmp_path / "changing.mkv"
    write_video(path)
    other = write_video(tmp_path / "other.mkv", **{"x264-params": "keyint=5:crf=40"})
    with open_video(path, packet_budget=0) as video:
        path.write_bytes(other.read_bytes())
        with pytest.raises(VideoDecodeError, match=r"changing\.mkv: has changed since it was opened; open it again"):
            video.frames([0])


@pytest.mark.skipif(not pathlib.Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
def test_no_file_stays_open(tmp_path, sound_video):
    song = write_sound(tmp_path / "song.mp4")
    hit = tmp_path / "hit.mp4"
    damage_packet(sound_video, hit, 20)
    before = len(list(pathlib.Path("/proc/self/fd").iterdir()))
    for budget in (0, 2**20):
        with pytest.raises(VideoFormatError, match="only sound"):
            open_video(song, packet_budget=budget)
        with open_video(hit, packet_budget=budget) as video:
            video.frames([3, 40])
            assert not decodes(video, 20)
    assert len(list(pathlib.Path("/proc/self/fd").iterdir())) == before


# Names that only look dangerous.


@pytest.mark.parametrize(
    "name", ["http:a.mp4", "concat:a|b.mp4", "%03d.mp4", "-.mp4", "tab\there.mp4", "Übung 1.mp4", "[x].mp4"]
)
def test_local_files_with_odd_names(tmp_path, sound_video, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    pathlib.Path(name).write_bytes(sound_video.read_bytes())
    with open_video(name) as video:
        assert video.num_frames == NUM_FRAMES
        assert video.path == name


def test_file_name_that_is_no_text(tmp_path, sound_video):
    path = os.fsencode(tmp_path) + b"/\xff\xfe.mp4"
    with open(path, "wb") as file:  # noqa: PTH123 (pathlib takes no bytes)
        file.write(sound_video.read_bytes())
    with open_video(os.fsdecode(path)) as video:
        assert video.frames([3]).shape == (1, HEIGHT, WIDTH, 3)
        with pytest.raises(OptionError, match=r"\\udcff") as info:
            video.frames([99])
        str(info.value).encode()


def test_tags_that_are_no_text(tmp_path):
    path = write_video(tmp_path / "tagged.avi", codec="mjpeg", pixels="yuvj420p")
    with av.open(str(path)) as source, av.open(str(tmp_path / "tags.avi"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        target.metadata["title"] = "title-here"
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    data = (tmp_path / "tags.avi").read_bytes()
    assert b"title-here" in data
    path.write_bytes(data.replace(b"title-here", b"\xff\xfe\xfc\xe4here-x"))
    with open_video(path) as video:
        assert video.num_frames == NUM_FRAMES
