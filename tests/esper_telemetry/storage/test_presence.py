"""A name is believed only where the very file that was promised stands behind it, whole."""

import os
import shutil

import pytest

from esper_telemetry.errors import SinkError
from esper_telemetry.storage.disk import Identity, absence


@pytest.fixture
def promised(tmp_path):
    """A file of 1,000 bytes in a folder of its own, and its identity."""
    path = tmp_path / "run" / "segment"
    path.parent.mkdir()
    path.write_bytes(b"x" * 1000)
    return path, Identity.of(path)


def append(path):
    with path.open("ab") as file:
        file.write(b"more")


def rewrite_in_place(path):
    path.write_bytes(b"y" * 1000)


@pytest.mark.parametrize("change", [lambda path: None, append, rewrite_in_place], ids=["nothing", "append", "rewrite"])
def test_a_file_that_is_where_it_was_and_no_shorter_is_there(promised, change):
    path, identity = promised
    change(path)
    assert absence(path, identity, 1000) == ""


def copy_over(path):
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.replace(path)


def folder_for_file(path):
    path.unlink()
    path.mkdir()


def dangling_link(path):
    path.unlink()
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.unlink(), "was removed or moved away"),
        (lambda path: path.rename(path.with_name("elsewhere")), "was removed or moved away"),
        (lambda path: shutil.rmtree(path.parent), "was removed or moved away"),
        (lambda path: path.parent.rename(path.parent.with_name("moved")), "was removed or moved away"),
        (dangling_link, "was removed or moved away"),
        (copy_over, "was replaced by another file"),
        (folder_for_file, "was replaced by another file"),
        (lambda path: os.truncate(path, 999), "was cut to 999 of 1,000 bytes"),
        (lambda path: os.truncate(path, 0), "was cut to 0 of 1,000 bytes"),
    ],
)
def test_whatever_else_was_done_to_it_is_named(promised, change, said):
    path, identity = promised
    keeper = path.open("rb")  # an inode that is still open is not given to another file
    change(path)
    assert absence(path, identity, 1000) == said
    keeper.close()


def test_a_file_in_the_place_of_its_folder_hides_it_too(promised):
    path, identity = promised
    shutil.rmtree(path.parent)
    path.parent.write_text("")
    assert absence(path, identity, 1000) == "was removed or moved away"


def test_an_open_file_has_an_identity_without_a_name(promised):
    path, identity = promised
    with path.open("rb") as file:
        path.unlink()
        assert Identity.of(file.fileno()) == identity


def test_a_place_that_cannot_be_looked_up_is_no_verdict(promised):
    path, identity = promised
    with pytest.raises(SinkError, match="cannot be looked up"):
        absence(path.with_name("n" * 300), identity, 1000)
