"""The manifest: nothing is lost by a kill, the last word on an image counts, earlier batches' rows stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetseg.app.batches.items import DONE, FAILED, Record
from fleetseg.app.batches.manifest import Manifest, mean_shares
from fleetseg.errors import DataError

parquet = pytest.importorskip("pyarrow.parquet")

CLASSES = ("red", "green")


def done(name: str, red: float = 0.25, width: int = 10) -> Record:
    shares = {"red": red, "green": 1 - red}
    place = {"mask": f"/out/{name}.png", "stamp": "7 now", "job": "key"}
    return Record(f"/in/{name}", DONE, **place, width=width, height=1, shares=shares)


def rows(folder: Path) -> dict[str, dict[str, object]]:
    return {row["input"]: row for row in parquet.read_table(folder / "manifest.parquet").to_pylist()}


def test_one_file_when_it_ends(tmp_path: Path) -> None:
    manifest = Manifest(str(tmp_path), CLASSES)
    manifest.add(done("a"))
    manifest.flush()
    manifest.add(Record("/in/b", FAILED, error="broken"))
    mine = manifest.close([("/in/a", "/out/a.png"), ("/in/b", "/out/b.png")])
    assert mine.num_rows == 2
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.parquet"]
    found = rows(tmp_path)
    assert (found["/in/a"]["share_red"], found["/in/a"]["share_green"]) == (0.25, 0.75)
    assert (found["/in/b"]["status"], found["/in/b"]["error"], found["/in/b"]["share_red"]) == (
        "failed",
        "broken",
        None,
    )


def test_what_a_killed_run_flushed_counts(tmp_path: Path) -> None:
    killed = Manifest(str(tmp_path), CLASSES)
    killed.add(done("a"))
    killed.flush()
    killed.add(done("lost"))
    again = Manifest(str(tmp_path), CLASSES)
    assert list(again.finished()) == ["/in/a"]
    assert (again.finished()["/in/a"].stamp, again.finished()["/in/a"].job) == ("7 now", "key")
    again.close([("/in/a", "/out/a.png")])
    assert list(rows(tmp_path)) == ["/in/a"]
    assert not (tmp_path / ".manifest").exists()


def test_the_last_word_counts(tmp_path: Path) -> None:
    for record in (done("a"), Record("/in/a", FAILED, error="gone")):
        manifest = Manifest(str(tmp_path), CLASSES)
        manifest.add(record)
        manifest.close([("/in/a", "/out/a.png")])
    assert rows(tmp_path)["/in/a"]["status"] == "failed"
    assert Manifest(str(tmp_path), CLASSES).finished() == {}


def test_rows_of_other_batches_stay_unless_their_masks_were_replaced(tmp_path: Path) -> None:
    first = Manifest(str(tmp_path), CLASSES)
    for name in ("a", "b"):
        first.add(done(name))
    first.close([("/in/a", "/out/a.png"), ("/in/b", "/out/b.png")])
    second = Manifest(str(tmp_path), ("other",))
    second.add(Record("/elsewhere/b", DONE, mask="/out/b.png", shares={"other": 1.0}))
    mine = second.close([("/elsewhere/b", "/out/b.png")])
    assert mine.column("input").to_pylist() == ["/elsewhere/b"]
    found = rows(tmp_path)
    assert sorted(found) == ["/elsewhere/b", "/in/a"]
    assert found["/elsewhere/b"]["share_red"] is None


def test_mean_shares_count_pixels(tmp_path: Path) -> None:
    manifest = Manifest(str(tmp_path), CLASSES)
    for record in (done("a", red=1.0, width=30), done("b", red=0.0, width=10), Record("/in/c", FAILED)):
        manifest.add(record)
    table = manifest.close([(f"/in/{name}", f"/out/{name}.png") for name in "abc"])
    assert mean_shares(table, CLASSES) == {"red": 0.75, "green": 0.25}
    assert mean_shares(table.slice(0, 0), CLASSES) == {"red": 0.0, "green": 0.0}


@pytest.mark.parametrize("content", [b"no parquet", None])
def test_a_file_that_is_no_manifest(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "manifest.parquet"
    if content is None:
        import pyarrow

        parquet.write_table(pyarrow.table({"input": [1, 2]}), path)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"manifest\.parquet: is not the manifest of a batch"):
        Manifest(str(tmp_path), CLASSES)
