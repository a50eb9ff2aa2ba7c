"""`fleetseg serve`: wrong calls are one sentence; networks are checked before anything listens for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetseg.cli import main, serve
from fleetseg.cli.networks_to_serve import load_networks
from fleetseg.compiling_process import CompilingProcesses
from fleetseg.errors import CompileError, UsageError


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["--port", "70000"], 2, "Invalid value for '--port'"),
        (["--max-seconds", "inf"], 2, "Invalid value for '--max-seconds'"),
        (["--max-megapixels", "inf"], 2, "Invalid value for '--max-megapixels'"),
        (["--host", "no such host"], 1, "--host no such host: is no address of this machine"),
        (["--size", "4"], 2, "--size 4: WIDTHxHEIGHT in pixels is needed"),
        (["--precision", "fp8"], 2, "There is no precision 'fp8'"),
        (["--api-key-file", "missing.txt"], 2, "--api-key-file missing.txt: cannot be read"),
        (["--api-key-file", "empty.txt"], 2, "--api-key-file empty.txt: one line with the key is needed"),
        (["--allow-origin", "example.org"], 2, "--allow-origin example.org: scheme and host are needed"),
        (["--data-dir", "empty.txt"], 1, "empty.txt: cannot be written to"),
        (["enet-camvit"], 2, "There is no packaged model 'enet-camvit'; did you mean enet-camvid"),
        (["enet-camvid"], 2, "two networks are called 'enet-camvid'"),
        (["--engine", "native"], 2, "the packaged 'enet-camvid' is not compiled"),
    ],
)
def test_wrong_calls(
    words: list[str],
    status: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    monkeypatch.setenv("FLEETSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(CompilingProcesses, "compile", lambda *_: None)
    assert main(["serve", "enet-camvid", "--port", "0", *words]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1].startswith(f"fleetseg: {sentence}")


def test_keys_come_from_files_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("secret\n")
    assert serve._api_key(tmp_path / "key") == "secret"
    monkeypatch.setenv("FLEETSEG_API_KEY", "other")
    assert serve._api_key(None) == "other"
    assert serve._api_key(tmp_path / "key") == "secret"
    monkeypatch.delenv("FLEETSEG_API_KEY")
    assert serve._api_key(None) is None


def test_hosts_that_are_answered() -> None:
    assert serve._hosts("0.0.0.0", []) is None
    assert serve._hosts("127.0.0.1", ["Box"]) == ("localhost", "127.0.0.1", "[::1]", "box")
    assert "box" in (serve._hosts("0.0.0.0", ["box"]) or ())
    assert "[fd00::1]" in (serve._hosts("FD00::1", ["box"]) or ()), "as browsers write it in the Host header"


def test_a_size_that_a_library_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fleetseg.runtime import Model

    monkeypatch.setattr(Model, "fixed_size", (32, 24))
    with pytest.raises(UsageError, match="--size 64x48: enet-camvid is compiled for 32x24"):
        load_networks(["enet-camvid"], "auto", (64, 48), 1, None, "auto")


def test_compiling_ends_with_the_service(tmp_path: Path) -> None:
    with CompilingProcesses(tmp_path) as compiling:
        folder = compiling.new_folder()
        with pytest.raises(CompileError, match=r"could not be compiled \(There is no packaged model 'nothing'"):
            compiling.compile("nothing", (32, 24), folder, "fp32")
    assert not folder.exists()
    with pytest.raises(CompileError, match="compiling was ended"):
        compiling.compile("enet-camvid", (32, 24), tmp_path / "late", "fp32")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_packaged_network_is_compiled_elsewhere(tmp_path: Path) -> None:
    from fleetseg.runtime import load

    with CompilingProcesses(tmp_path) as compiling:
        folder = compiling.new_folder()
        compiling.compile("enet-camvid", (32, 24), folder, "fp32")
        assert load(folder).engine == "native"
    assert {path.suffix for path in tmp_path.iterdir()} == {".so"}
