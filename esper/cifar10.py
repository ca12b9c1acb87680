"""CIFAR-10 from its official files, python or binary version, verified before anything is believed.

It reads what is in a folder and downloads nothing. The python files are pickles, so their checksums are
compared before they are opened: bytes that are not the official ones are never unpickled. For the binary
files no checksums are published; their size, labels and class counts are checked.
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

CLASSES = 10
SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
PYTHON_FOLDER, BINARY_FOLDER = "cifar-10-batches-py", "cifar-10-batches-bin"
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = ("test_batch",)


class DataError(ValueError):
    """The files of a data set are missing or not what they should be."""


@dataclass(frozen=True)
class ArchiveLayout:
    """What the files hold.

    Attributes:
        records: Images in each file.
        checksums: MD5 of each python file, as published with the data set.
    """

    records: int
    checksums: Mapping[str, str]


OFFICIAL = ArchiveLayout(
    10_000,
    {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
)


@dataclass(frozen=True)
class Images:
    """Images (N, 3, 32, 32) uint8, red, green and blue planes, and labels (N,) int64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def read_cifar10(directory: str | Path, layout: ArchiveLayout = OFFICIAL) -> tuple[Images, Images]:
    """Read the training and the test images.

    Args:
        directory: The unpacked folder of either version, or the one it lies in.
        layout: What the files hold.

    Raises:
        DataError: Files are missing or not the official ones.
    """
    directory = Path(directory)
    for folder in (directory, directory / PYTHON_FOLDER, directory / BINARY_FOLDER):
        for suffix in ("", ".bin"):
            if (folder / f"{TEST[0]}{suffix}").is_file():
                train = _read_files(folder, TRAIN, suffix, layout)
                return train, _read_files(folder, TEST, suffix, layout)
    raise DataError(
        f"no CIFAR-10 in {directory}: get cifar-10-python.tar.gz or cifar-10-binary.tar.gz from {PAGE},"
        f" unpack it there and pass the folder with --data-dir"
    )


def _read_files(folder: Path, names: tuple[str, ...], suffix: str, layout: ArchiveLayout) -> Images:
    read = _read_binary if suffix else _read_python
    parts = [read(folder / f"{name}{suffix}", layout) for name in names]
    images = np.concatenate([part.images for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    counts = np.bincount(labels, minlength=CLASSES)
    expected = layout.records * len(names) // CLASSES
    if counts.tolist() != [expected] * CLASSES:
        raise DataError(f"{folder}: the classes have {counts.tolist()} images, not {expected} each; unpack it again")
    return Images(images, labels)


def _read_python(path: Path, layout: ArchiveLayout) -> Images:
    raw = _read(path)
    checksum = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if checksum != layout.checksums[path.name]:
        raise DataError(
            f"{path} is corrupt: its MD5 is {checksum}, the official one {layout.checksums[path.name]}; unpack it again"
        )
    content = pickle.loads(raw, encoding="bytes")  # noqa: S301 - the checksum proves these are the official bytes
    labels = np.asarray(content[b"labels"], dtype=np.int64)
    return Images(np.asarray(content[b"data"], dtype=np.uint8).reshape(-1, *SHAPE), labels)


def _read_binary(path: Path, layout: ArchiveLayout) -> Images:
    raw = _read(path)
    size = layout.records * (1 + PIXELS)
    if len(raw) != size:
        raise DataError(f"{path} is corrupt: it has {len(raw):,} bytes, not {size:,}; unpack it again")
    rows = np.frombuffer(raw, dtype=np.uint8).reshape(layout.records, 1 + PIXELS)
    labels = rows[:, 0].astype(np.int64)
    if labels.max() >= CLASSES:
        first = int(np.argmax(labels >= CLASSES))
        raise DataError(f"{path} is corrupt: image {first} has label {labels[first]}, over 9; unpack it again")
    return Images(rows[:, 1:].reshape(-1, *SHAPE), labels)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); get it from {PAGE}") from error
