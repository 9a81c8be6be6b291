"""The program that the doctor starts to try the native libraries, so that whatever they do, they do it to this process.

    python -m weaksvr.runtime.doctor.probe video
    python -m weaksvr.runtime.doctor.probe networks BUNDLE BACKEND DEVICE PRECISION

Writes one JSON object a line to stdout: `{"doing": ..., "library": ...}` before each thing that is tried, and at last
`{"result": ...}` or `{"error": [kind, text]}`. What libraries print goes to stderr.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Final

from ..bundle_format import REQUIRED_ROLES
from ..errors import WeakSVRError
from .findings import cause_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..bundle import Manifest

__all__ = ["CLIP", "CODECS", "COMMONEST", "FOR_VIDEO", "main", "try_networks", "try_video"]

CLIP: Final = Path(__file__).parents[1] / "assets" / "doctor.mp4"
COMMONEST: Final = "h264"
FOR_VIDEO: Final = ("numpy", "av")
CODECS: Final = (COMMONEST, "hevc", "av1", "vp9", "vp8", "mpeg4", "mjpeg", "png")

Say = Callable[[str, str], None]
"""Tells what is tried next, and the library that does it."""


def try_video(say: Say) -> dict[str, Any]:
    """See which decoders there are, and decode a short H.264 clip if that is among them.

    Returns:
        `decoders`: those of `CODECS` that are there.

    Raises:
        WeakSVRError: if the clip cannot be decoded.
        ImportError: if the decoding library cannot be loaded.
    """
    _load(say, FOR_VIDEO)
    from av import Codec
    from av.codec.codec import UnknownCodecError

    from ..video import open_video

    say("looking for decoders", "av")
    decoders = []
    for name in CODECS:
        with contextlib.suppress(UnknownCodecError):
            Codec(name, "r")
            decoders.append(name)
    if COMMONEST in decoders:
        say("decoding an H.264 video", "av")
        with open_video(CLIP) as video:
            video.frames([0, video.num_frames - 1])
    return {"decoders": decoders}


def try_networks(say: Say, bundle: str, backend: Any, device: Any, precision: str) -> dict[str, Any]:
    """Load a bundle as `weaksvr-verify` does, and run each of its networks once, on nothing in particular.

    Returns:
        `device`, `provider`, `precision`, `threads`, `notes`: as in effect.

    Raises:
        WeakSVRError: if something cannot be loaded or run.
        ImportError: if a library cannot be loaded.
    """
    library = "tensorrt" if backend == "tensorrt" else "onnxruntime"
    _load(say, FOR_VIDEO if library == "tensorrt" else (*FOR_VIDEO, library))  # the lean one has another name
    say("loading the bundle", library)
    from ..verify import load

    model = load(bundle, backend=backend, device=device, precision=precision)
    running, manifest = model.backend, model.bundle.manifest
    for role in REQUIRED_ROLES:
        say(f"running the {role} network", library)
        running.run(role, _nothing(manifest, role, running.precision))
    if manifest.network("text", running.precision):
        say("cutting a text into tokens", "tokenizers")
        text = ["take the cup"]
        if model.embedder.tokenizer:
            model.embedder.tokenizer(text)
        say("running the text network", library)
        model.embed_text(text)
    in_effect = {"device": running.device, "provider": running.provider, "precision": running.precision}
    return {**in_effect, "threads": running.num_threads, "notes": list(running.notes)}


def _load(say: Say, libraries: Iterable[str]) -> None:
    for library in libraries:
        say(f"loading {library}", library)
        importlib.import_module(library)


def _nothing(manifest: Manifest, role: str, precision: str) -> dict[str, NDArray[Any]]:
    """Zeros for the inputs of a network: one video, one view, its frames black."""
    import numpy as np

    size = manifest.preprocess
    sides = {"H": size.height, "W": size.width, "T": manifest.sampling.num_frames}
    file = manifest.network(role, precision)
    return {
        tensor.name: np.zeros([side if isinstance(side, int) else sides.get(side, 1) for side in tensor.shape])
        for tensor in (file.inputs if file else ())
    }


PROBES: Final[Mapping[str, Callable[..., dict[str, Any]]]] = MappingProxyType(
    {"video": try_video, "networks": try_networks}
)


def main() -> None:
    """Run the probe that the command line names."""
    with _private_stdout() as out:

        def write(document: dict[str, Any]) -> None:
            out.write(json.dumps(document) + "\n")
            out.flush()

        def say(what: str, library: str) -> None:
            write({"doing": what, "library": library})

        _leave_no_core()
        probe, *arguments = sys.argv[1:]
        try:
            write({"result": PROBES[probe](say, *arguments)})
        except WeakSVRError as error:
            write({"error": [type(error).__name__, cause_of(str(error))]})
        except Exception as error:  # noqa: BLE001 - what broken libraries raise is what this program is there to find
            write({"error": [type(error).__name__, f"{type(error).__name__}: {error}"]})


@contextlib.contextmanager
def _private_stdout() -> Iterator[IO[str]]:
    """The real stdout; whatever else writes to file descriptor 1 writes to stderr from now on."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        yield out


def _leave_no_core() -> None:
    """A crash that is looked for need not fill the disk."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
