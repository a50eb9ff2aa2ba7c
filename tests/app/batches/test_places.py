"""Files at addresses: whole or not at all, tried again, and told in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetseg.app.batches import places
from fleetseg.errors import DataError, MissingExtraError, OutputError, UsageError

from .bucket_server import ACCESS_KEY, Bucket, served_bucket

pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def bucket_of_module() -> Iterator[Bucket]:
    with served_bucket() as bucket:
        yield bucket


@pytest.fixture
def bucket(bucket_of_module: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bucket:
    bucket_of_module.objects.clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket_of_module.address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(places, "FIRST_PAUSE", 0.01)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    return bucket_of_module


@pytest.mark.parametrize("kind", ["local", "memory", "s3"])
def test_what_is_written_is_found_and_read(kind: str, tmp_path: Path, bucket: Bucket) -> None:
    base = {"local": f"{tmp_path}/b", "memory": "memory://test-places", "s3": "s3://pictures/b"}[kind]
    a, b = places.join(base, "a.png"), places.join(base, "deep/b c.png")
    assert places.kind(a) == "none"
    for url in (a, b):
        places.write(url, b"first")
        places.write(url, b"second")
        assert places.read(url) == b"second"
        assert places.kind(url) == "file"
    assert [places.full(a), places.full(b)] == places.files_below(base) == sorted([a, b]), "nothing unfinished is left"
    assert places.kind(base) == "directory"
    assert places.matching(f"{base}/*.png") == [a]
    before = places.stamp(a)
    assert before is not None
    places.write(a, b"other content")
    assert places.stamp(a) not in (before, None)
    places.remove(a)
    assert places.stamp(a) is None
    places.check_writable(base)
    assert places.files_below(base) == [b]


def test_a_bucket_that_is_busy_is_asked_again(bucket: Bucket) -> None:
    bucket.objects["pictures/a.png"] = b"content"
    bucket.refusals = 1
    assert places.read("s3://pictures/a.png") == b"content"
    bucket.refusals = 1
    places.write("s3://pictures/b.png", b"new")
    assert bucket.objects["pictures/b.png"] == b"new"


def test_a_bucket_without_credentials(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.objects["pictures/a.png"] = b"content"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for once in (lambda: places.read("s3://pictures/a.png"), lambda: places.files_below("s3://pictures")):
        with pytest.raises(DataError, match=r"^s3://pictures.*AWS_ACCESS_KEY_ID") as caught:
            once()
        assert "\n" not in str(caught.value)
    with pytest.raises(OutputError, match=r"^s3://pictures/b\.png: cannot be written .*AWS_ACCESS_KEY_ID"):
        places.write("s3://pictures/b.png", b"new")
    assert list(bucket.objects) == ["pictures/a.png"]


def test_a_bucket_that_does_not_allow_it(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-else")
    with pytest.raises(DataError, match=r"s3://pictures/a\.png: cannot be read \(not allowed"):
        places.read("s3://pictures/a.png")


def test_addresses_keep_the_host() -> None:
    class Remote:
        protocol = ("sftp", "ssh")
        _strip_protocol = staticmethod(lambda url: url.removeprefix("sftp://me@host").rstrip("/"))

    assert places._full(Remote(), "/in/a.png", "sftp://me@host/in/") == "sftp://me@host/in/a.png"


def test_wrong_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="nonsense://x"):
        places.read("nonsense://x")
    with pytest.raises(UsageError, match=r"^sftp://…@host/x: the manifest would hold the password"):
        places.read("sftp://user:secret@host/x")
    with pytest.raises(DataError, match=r"cannot be read \(it does not exist"):
        places.read(str(tmp_path / "gone.png"))
    Path(tmp_path, "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        places.check_writable(str(tmp_path / "file" / "below"))
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fleetseg\[batch\]'"):
        places.read("memory://x")


def test_a_failed_rename_leaves_nothing_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    def fail(*_arguments: object, **_options: object) -> None:
        raise PermissionError("no renaming here")

    monkeypatch.setattr(MemoryFileSystem, "mv", fail)
    with pytest.raises(OutputError, match=r"memory://test-rename/a\.png: cannot be written \(not allowed: no renaming"):
        places.write("memory://test-rename/a.png", b"content")
    assert places.files_below("memory://test-rename") == []
