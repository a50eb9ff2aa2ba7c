"""Files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetseg.atomic import (
    check_file_writable,
    check_writable,
    files_in,
    folder_beside,
    move_into,
    replacing,
    write_bytes,
)
from fleetseg.errors import OutputError


def test_replaces_and_makes_parents(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_bytes(path, b"old")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert [item.name for item in path.parent.iterdir()] == ["b.txt"]


def test_failure_half_way_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="power cut"), replacing(path) as temporary:
        temporary.write_bytes(b"ne")
        raise RuntimeError("power cut")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_name_keeps_suffix_and_folder(tmp_path: Path) -> None:
    with replacing(tmp_path / "x.png") as temporary:
        assert (temporary.suffix, temporary.parent) == (".png", tmp_path)
        temporary.touch()


def test_parent_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/x\.json: cannot be written \(.+\)$"):
        write_bytes(tmp_path / "file" / "x.json", b"{}")


def test_disk_full_is_one_sentence(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with (
        pytest.raises(OutputError, match="No space left"),
        replacing(tmp_path / "x"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_writable_folders_are_made_and_left_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/x: cannot be written to \(Not a directory\)$"):
        check_writable(tmp_path / "file" / "x")


def test_a_file_where_a_folder_should_be_and_the_reverse(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file: cannot be written to \(.*file is a file, a folder is needed\)$"):
        check_writable(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=r"folder: is a folder, a file's name is needed$"):
        check_file_writable(tmp_path / "folder")
    for folder in (tmp_path / "folder", "."):
        with pytest.raises(OutputError, match=r"is a folder, a file's name is needed$"):
            write_bytes(folder, b"")
    check_file_writable(tmp_path / "new" / "figures.json")
    assert list((tmp_path / "new").iterdir()) == []


def test_several_files_appear_together(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("old")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "gone").write_text("old")
    with folder_beside(tmp_path / "a.xml") as folder:
        assert folder.parent == tmp_path
        for name in ("a.xml", "a.bin", "net/new"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("new")
        assert (tmp_path / "a.xml").read_text() == "old"
        move_into(folder, tmp_path)
    found = {str(path.relative_to(tmp_path)): path.read_text() for path in files_in(tmp_path)}
    assert found == dict.fromkeys(("a.xml", "a.bin", "net/new"), "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "a.xml", "net"]


def test_a_folder_beside_is_gone_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="power cut"), folder_beside(tmp_path / "a") as folder:
        (folder / "a").write_text("ne")
        raise RuntimeError("power cut")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="missing/a: cannot be written"), folder_beside(tmp_path / "missing" / "a"):
        pass
