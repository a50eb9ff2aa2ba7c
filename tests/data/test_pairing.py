"""Pairing of images and labels by stem and by list."""

from __future__ import annotations

from pathlib import Path

from fleetseg.data.pairing import list_file_splits, pair_as_listed, pair_by_stem, sample_names


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_pairs_by_stem_across_suffixes_and_folders(tmp_path: Path) -> None:
    touch(tmp_path, "i/b.JPG", "i/a.png", "i/city/c.1.webp", "l/a.png", "l/b.tiff", "l/city/c.1.png")
    pairing = pair_by_stem(tmp_path / "i", tmp_path / "l")
    assert [(image.name, label.name) for image, label in pairing.pairs] == [
        ("a.png", "a.png"),
        ("b.JPG", "b.tiff"),
        ("c.1.webp", "c.1.png"),
    ]
    assert pairing.faults == ()


def test_only_the_folder_itself_when_asked(tmp_path: Path) -> None:
    touch(tmp_path, "i/a.png", "i/more/b.png", "l/a.png", "l/more/b.png")
    assert len(pair_by_stem(tmp_path / "i", tmp_path / "l", inside=False).pairs) == 1
    assert len(pair_by_stem(tmp_path / "i", tmp_path / "l").pairs) == 2


def test_files_that_are_no_images_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "i/a.png", "i/Thumbs.db", "i/._a.png", "i/.b.tmp.png", "i/notes.txt", "l/a.png")
    pairing = pair_by_stem(tmp_path / "i", tmp_path / "l")
    assert len(pairing.pairs) == 1
    assert pairing.faults == ()


def test_each_file_without_a_partner_is_a_fault(tmp_path: Path) -> None:
    touch(tmp_path, "i/a.png", "i/b.png", "i/b.jpg", "l/b.png", "l/c.png")
    faults = pair_by_stem(tmp_path / "i", tmp_path / "l").faults
    assert {(fault.kind, fault.path.relative_to(tmp_path).as_posix()) for fault in faults} == {
        ("image without label", "i/a.png"),
        ("label without image", "l/c.png"),
        ("same name twice", "i/b.png"),
    }
    assert all(fault.message.startswith(str(fault.path)) for fault in faults)


def test_a_missing_label_folder_leaves_every_image_without_label(tmp_path: Path) -> None:
    touch(tmp_path, "i/a.png", "i/b.png")
    pairing = pair_by_stem(tmp_path / "i", tmp_path / "l")
    assert pairing.pairs == ()
    assert [fault.kind for fault in pairing.faults] == ["image without label"] * 2


def test_listed_pairs_keep_their_order_and_missing_files_are_faults(tmp_path: Path) -> None:
    touch(tmp_path, "2.png", "2l.png", "1.png", "1l.png", "3.png", "4l.png")
    listed = [(tmp_path / f"{n}.png", tmp_path / f"{n}l.png") for n in (2, 1, 3, 4, 5)]
    pairing = pair_as_listed(listed)
    assert pairing.pairs == tuple(listed[:2])
    assert [(fault.kind, fault.path.name) for fault in pairing.faults] == [
        ("image without label", "3.png"),
        ("label without image", "4l.png"),
        ("missing", "5.png"),
    ]


def test_a_text_file_is_a_list_if_it_begins_as_one(tmp_path: Path) -> None:
    (tmp_path / "README.txt").write_text("Read this.\n")
    (tmp_path / "requirements.txt").write_text("numpy >=1\n")
    (tmp_path / "night.txt").write_text("\nimages/1.png labels/1.png\n")
    (tmp_path / "val.txt").write_text("broken\n")
    assert list_file_splits(tmp_path) == ("night", "val")


def test_sample_names_are_unique(tmp_path: Path) -> None:
    def names(*paths: str) -> list[str]:
        return sample_names([tmp_path / path for path in paths], tmp_path)

    assert names("i/a.png", "i/b.png") == ["a", "b"]
    assert names("i/x/a.png", "i/y/a.png") == ["i_x_a", "i_y_a"]
    assert names("i/a.png", "i/a.jpg") == ["00000_a", "00001_a"]
