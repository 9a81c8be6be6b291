"""Reading the files that `weaksvr-embed` wrote, for whoever asks questions of a corpus that was embedded once."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .embedder import VideoEmbedding
from .embedding_table import EmbeddingTable, RowGroup, import_pyarrow, read_group
from .errors import DataError, OutputError, VideoError
from .identity import identity_of
from .pipeline import StreamedVideo
from .verify import Model

__all__ = ["STORED_SUFFIX", "StoredEmbeddings"]

STORED_SUFFIX = ".parquet"


class StoredEmbeddings:
    """The videos of one file; a row group at a time is in memory.

    Args:
        path: of the file.
        model: that its embeddings must come from.
        frames: whether the features of frames are needed.

    Raises:
        MissingExtraError: if PyArrow is not installed.
        DataError: if it is no such file, comes from another model, or lacks the features of frames.
    """

    def __init__(self, path: str, *, model: Model, frames: bool) -> None:
        import_pyarrow("reading embeddings")
        self.path = path
        self._frames = frames
        if not Path(path).is_file():
            raise DataError(f"{path}: no such file; check the path")
        try:
            table = EmbeddingTable.open(Path(path))
        except OutputError as error:
            raise _unreadable(path) from error
        if table.model != identity_of(model).digest:
            raise DataError(
                f"{path}: comes from another model, precision, sampling or version than those in effect; "
                "embed the videos anew with weaksvr-embed"
            )
        if frames and not table.frames:
            raise DataError(
                f"{path}: holds no features of frames; write it with weaksvr-embed --frames, or use --method vector"
            )

    def __iter__(self) -> Iterator[StreamedVideo]:
        """The videos in the order of the rows; one that could not be embedded comes with its error.

        Without `frames` the embeddings have no features of frames, indices or times.

        Raises:
            DataError: if the file is damaged.
        """
        try:
            for number in range(self._num_groups()):
                yield from self._rows(read_group(RowGroup(Path(self.path), number), self._columns()))
        except (OutputError, ValueError) as error:
            raise _unreadable(self.path) from error

    def _columns(self) -> list[str]:
        of_frames = ["frame_features", "indices", "times_seconds"] if self._frames else []
        return ["video", "error", "notes", "num_frames", "duration_seconds", "vector", *of_frames]

    def _num_groups(self) -> int:
        pq = importlib.import_module("pyarrow.parquet")
        return int(pq.read_metadata(self.path).num_row_groups)

    def _rows(self, table: Any) -> Iterator[StreamedVideo]:
        columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        for row in range(table.num_rows):
            video = columns["video"][row].as_py()
            error = columns["error"][row].as_py()
            if error is not None:
                yield StreamedVideo(path=video, error=VideoError(error))
                continue
            vector = columns["vector"][row].values.to_numpy()
            features, indices, times = self._of_frames(columns, row, len(vector))
            yield StreamedVideo(
                path=video,
                embedding=VideoEmbedding(
                    path=video,
                    vector=vector,
                    frame_features=features,
                    indices=indices,
                    times_seconds=times,
                    notes=tuple(columns["notes"][row].as_py()),
                ),
                num_frames=columns["num_frames"][row].as_py(),
                duration_seconds=columns["duration_seconds"][row].as_py(),
            )

    def _of_frames(
        self, columns: dict[str, Any], row: int, dimensions: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
        if not self._frames:
            return np.empty((0, dimensions), np.float32), np.empty(0, np.int64), np.empty(0)
        features = columns["frame_features"][row].values.flatten().to_numpy().reshape(-1, dimensions)
        return features, columns["indices"][row].values.to_numpy(), columns["times_seconds"][row].values.to_numpy()


def _unreadable(path: str) -> DataError:
    return DataError(f"{path}: is damaged, or not written by weaksvr-embed; embed the videos anew")
