"""`daqctl keygen`: what it makes, what it says, and that it never overwrites anything."""

import json
import os
import stat
from pathlib import Path

import pytest
import zmq.auth

from astropix_runtime.sockets.key_files import PublicKey, read_key_pair, read_public_key
from daqd import ctl
from daqd.commands.keygen import KeygenError, KeyNameError, default_key_dir, make_keys


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_files(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        public, secret, keys = make_keys(tmp_path / "new" / "keys", "daq-pc")
    finally:
        os.umask(before)
    assert (public.name, secret.name) == ("daq-pc.key", "daq-pc.key_secret")
    assert [mode(path) for path in (public, secret)] == [0o644, 0o600]
    assert mode(public.parent) & 0o077 == 0
    assert read_public_key(public) == PublicKey(keys.public)
    assert read_key_pair(secret) == keys
    assert zmq.auth.load_certificate(secret) == (keys.public.encode(), keys.secret.encode())


def test_no_two_pairs_are_the_same(tmp_path: Path) -> None:
    assert make_keys(tmp_path, "a")[2] != make_keys(tmp_path, "b")[2]


@pytest.mark.parametrize("kept", ["alice.key", "alice.key_secret"])
def test_nothing_is_overwritten(tmp_path: Path, kept: str) -> None:
    (tmp_path / kept).write_text("mine")
    with pytest.raises(KeygenError, match=rf"{kept} is there already and is kept: take another NAME or --dir"):
        make_keys(tmp_path, "alice")
    assert [path.name for path in tmp_path.iterdir()] == [kept]
    assert (tmp_path / kept).read_text() == "mine"


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "a b", "a" * 65, "ä", "a\n"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyNameError, match="is no name for keys"):
        make_keys(tmp_path, name)
    assert ctl.main(["keygen", name, "--dir", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeygenError, match=r"cannot make .*file.*: (Not a directory|File exists)|is there already"):
        make_keys(tmp_path / "file" / "keys", "alice")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.main(["keygen", "alice", "--dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path}/alice.key_secret" in said
    assert "[security]" in said
    assert "--server-key SERVER.key --key" in said
    assert read_key_pair(tmp_path / "alice.key_secret").secret not in said
    assert ctl.main(["keygen", "alice", "--dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"daqctl: {tmp_path}/alice.key_secret is there already")


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.main(["keygen", "alice", "--json", "--dir", str(tmp_path)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "ok": True,
        "public_file": f"{tmp_path}/alice.key",
        "secret_file": f"{tmp_path}/alice.key_secret",
        "public_key": read_public_key(tmp_path / "alice.key").public,
    }
    assert ctl.main(["keygen", "alice", "--json", "--dir", str(tmp_path)]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["message"].startswith(f"{tmp_path}/alice.key_secret is there")


def test_where_keys_live(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_key_dir() == tmp_path / "astropix-daq"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_key_dir() == tmp_path / ".config" / "astropix-daq"
