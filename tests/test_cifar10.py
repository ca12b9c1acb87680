"""CIFAR-10 files are verified before they are believed."""

import hashlib
import pickle

import numpy as np
import pytest

from esper.cifar10 import OFFICIAL, ArchiveLayout, DataError, read_cifar10

RECORDS = 20
NAMES = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = {name: rng.permutation(np.arange(RECORDS) % 10) for name in NAMES}
    pixels = {name: rng.integers(0, 256, (RECORDS, 3072), dtype=np.uint8) for name in NAMES}
    return labels, pixels


@pytest.fixture
def python_files(tmp_path, data):
    labels, pixels = data
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    sums = {}
    for name in NAMES:
        raw = pickle.dumps({b"labels": labels[name].tolist(), b"data": pixels[name]})
        (folder / name).write_bytes(raw)
        sums[name] = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    return tmp_path, ArchiveLayout(RECORDS, sums)


@pytest.fixture
def binary_files(tmp_path, data):
    labels, pixels = data
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in NAMES:
        rows = np.concatenate([labels[name][:, None].astype(np.uint8), pixels[name]], axis=1)
        (folder / f"{name}.bin").write_bytes(rows.tobytes())
    return tmp_path, ArchiveLayout(RECORDS, {})


@pytest.mark.parametrize("version", ["python_files", "binary_files"])
def test_both_versions_give_the_same_images(version, data, request):
    folder, layout = request.getfixturevalue(version)
    labels, pixels = data
    train, test = read_cifar10(folder, layout)
    assert train.images.shape == (5 * RECORDS, 3, 32, 32)
    assert np.array_equal(train.labels, np.concatenate([labels[name] for name in NAMES[:5]]))
    assert np.array_equal(test.images.reshape(RECORDS, -1), pixels["test_batch"])


def test_the_unpacked_folder_itself_may_be_named(python_files):
    folder, layout = python_files
    train, _ = read_cifar10(folder / "cifar-10-batches-py", layout)
    assert len(train.labels) == 5 * RECORDS


def test_an_empty_folder_says_where_to_get_the_files(tmp_path):
    with pytest.raises(DataError, match=r"get cifar-10-python.*cs\.toronto\.edu.*--data-dir"):
        read_cifar10(tmp_path)


def test_a_missing_file_is_named(binary_files):
    folder, layout = binary_files
    (folder / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_3\.bin cannot be read"):
        read_cifar10(folder, layout)


def test_a_pickle_with_another_checksum_is_never_opened(python_files, tmp_path):
    folder, layout = python_files
    mark = tmp_path / "mark"
    (folder / "cifar-10-batches-py" / "data_batch_2").write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(DataError, match=r"data_batch_2 is corrupt: its MD5 is"):
        read_cifar10(folder, layout)
    assert not mark.exists()


def test_a_cut_binary_file_is_refused(binary_files):
    folder, layout = binary_files
    path = folder / "cifar-10-batches-bin" / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"has 61,459 bytes, not 61,460"):
        read_cifar10(folder, layout)


def test_a_label_over_nine_is_refused(binary_files):
    folder, layout = binary_files
    path = folder / "cifar-10-batches-bin" / "data_batch_1.bin"
    raw = bytearray(path.read_bytes())
    raw[3073] = 10
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"image 1 has label 10"):
        read_cifar10(folder, layout)


def test_classes_that_are_not_balanced_are_refused(binary_files):
    folder, layout = binary_files
    path = folder / "cifar-10-batches-bin" / "data_batch_1.bin"
    raw = bytearray(path.read_bytes())
    raw[0] = (raw[0] + 1) % 10
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"the classes have"):
        read_cifar10(folder, layout)


def test_the_official_layout_names_every_file():
    assert sorted(OFFICIAL.checksums) == sorted(NAMES)
    assert OFFICIAL.records == 10_000
