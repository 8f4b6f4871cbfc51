"""Key files: what is written is read, by us and by pyzmq; what is none gives a `KeyFileError`, and nothing else."""

import os
import re
from pathlib import Path

import pytest
import zmq
import zmq.auth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zmq.utils import z85

from astropix_runtime.errors import KeyFileError
from astropix_runtime.sockets.key_files import (
    MAX_KEY_FILE_BYTES,
    KeyPair,
    PublicKey,
    check_key,
    format_key_pair,
    format_public_key,
    key_text,
    parse_keys,
    public_key_files,
    read_client_keys,
    read_key_pair,
    read_public_key,
)

PAIR = KeyPair(*(key.decode() for key in zmq.curve_keypair()))
PUBLIC = PublicKey(PAIR.public)
KEYS = st.binary(min_size=32, max_size=32).map(lambda key: z85.encode(key).decode())


def put(path: Path, content: bytes | str, mode: int = 0o600) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


@given(KEYS, KEYS, st.text())
def test_what_is_written_is_read(public: str, secret: str, name: str) -> None:
    pair = KeyPair(public, secret)
    assert parse_keys(format_key_pair(pair, name).encode()) == pair
    assert parse_keys(format_public_key(pair, name).encode()) == PublicKey(public)


def test_pyzmq_reads_ours_and_we_read_its(tmp_path: Path) -> None:
    ours = put(tmp_path / "ours.key_secret", format_key_pair(PAIR, "ours"))
    assert zmq.auth.load_certificate(ours) == (PAIR.public.encode(), PAIR.secret.encode())
    public, secret = zmq.auth.create_certificates(tmp_path, "its", {"owner": "somebody"})
    Path(secret).chmod(0o600)
    pair = read_key_pair(secret)
    assert zmq.curve_public(pair.secret.encode()).decode() == pair.public
    assert read_public_key(public) == PublicKey(pair.public)


@given(st.text(min_size=40, max_size=40))
def test_only_keys_are_keys(text: str) -> None:
    """The same ones as pyzmq takes, which does not look for groups that are too large."""
    try:
        check_key(text)
    except KeyFileError:
        return
    assert z85.encode(z85.decode(text.encode())).decode() == text
    assert key_text(z85.decode(text.encode())) == text


@given(KEYS)
def test_every_key_is_one(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "40 characters, this one has 0"),
        ("x" * 41, "40 characters, this one has 41"),
        ("x" * 39 + '"', "not of Z85"),
        ("x" * 39 + "ä", "not of Z85"),
        ("x" * 35 + "#####", "characters 36 to 40 of the key stand for more than four bytes"),
    ],
)
def test_what_is_no_key(key: str, reason: str) -> None:
    with pytest.raises(KeyFileError, match=reason):
        KeyPair(PAIR.public, key)
    with pytest.raises(KeyFileError, match=reason):
        PublicKey(key)


def test_a_secret_is_not_shown() -> None:
    assert PAIR.secret not in repr(PAIR)
    assert PAIR.secret not in format_public_key(PAIR, "alice")
    with pytest.raises(KeyFileError) as caught:
        check_key(f"{PAIR.secret}x")
    assert PAIR.secret not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "there is no public-key"),
        (b"public-key\n", "there is no public-key"),
        (f"# public-key = {PAIR.public}\n".encode(), "there is no public-key"),
        (f'secret-key = "{PAIR.secret}"\n'.encode(), "there is no public-key"),
        (f'public-key = "{PAIR.public}"\n'.encode() * 2, "has public-key twice"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b"#" * (MAX_KEY_FILE_BYTES + 1), f"longer than {MAX_KEY_FILE_BYTES} bytes"),
    ],
    ids=["empty", "no key", "comment", "only the secret", "twice", "no text", "long"],  # the pair is another each time
)
def test_what_is_no_key_file(content: bytes, reason: str) -> None:
    with pytest.raises(KeyFileError, match=reason):
        parse_keys(content)


PIECES = st.sampled_from(
    [
        b"metadata\n",
        b"curve\n",
        b"    public-key = ",
        b'"' + PAIR.public.encode() + b'"\n',
        b"    secret-key = ",
        b"'" + PAIR.secret.encode() + b"'\n",
        b"=",
        b"#",
        b"\r\n",
        b"\0",
        "\u2028".encode(),
    ]
)


@given(st.lists(PIECES | st.binary(max_size=50), max_size=12).map(b"".join))
def test_nonsense_gives_the_documented_error(content: bytes) -> None:
    try:
        keys = parse_keys(content)
    except KeyFileError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(keys, KeyPair | PublicKey)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.text())
def test_any_path_gives_the_documented_error(tmp_path: Path, path: str) -> None:
    for read in (read_public_key, read_key_pair, public_key_files):
        with pytest.raises(KeyFileError):
            read(f"{tmp_path}/missing/{path}")


@pytest.mark.skipif(os.name != "posix", reason="file permissions of POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o777, 0o610])
def test_secret_keys_that_others_can_read_or_write(tmp_path: Path, mode: int) -> None:
    path = put(tmp_path / "daq.key_secret", format_key_pair(PAIR, "daq"), mode)
    with pytest.raises(KeyFileError, match=re.escape(f"{path}: others may read this secret key: chmod 600 {path}")):
        read_key_pair(path)
    path.chmod(0o600)
    assert read_key_pair(path) == PAIR
    path.chmod(0o400)
    assert read_key_pair(path) == PAIR


@pytest.mark.skipif(os.name != "posix", reason="file permissions of POSIX")
def test_public_keys_that_others_can_write(tmp_path: Path) -> None:
    path = put(tmp_path / "alice.key", format_public_key(PAIR, "alice"), 0o664)
    with pytest.raises(KeyFileError, match=re.escape(f"{path}: others may change this key: chmod go-w {path}")):
        read_public_key(path)
    path.chmod(0o644)
    assert read_public_key(path) == PUBLIC
    tmp_path.chmod(0o777)
    with pytest.raises(KeyFileError, match=re.escape(f"others may put keys into it: chmod go-w {tmp_path}")):
        public_key_files(tmp_path)


def test_one_taken_for_the_other(tmp_path: Path) -> None:
    public = put(tmp_path / "a.key", format_public_key(PAIR, "a"))
    secret = put(tmp_path / "a.key_secret", format_key_pair(PAIR, "a"))
    with pytest.raises(KeyFileError, match=r"a\.key_secret: has a secret key in it.* ends in \.key$"):
        read_public_key(secret)
    with pytest.raises(KeyFileError, match=r"a\.key: has no secret key in it: use the file that ends in \.key_secret"):
        read_key_pair(public)
    keys = read_client_keys(public, str(secret))
    assert keys == read_client_keys(PUBLIC, PAIR)
    assert (keys.server, keys.own) == (PUBLIC, PAIR)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"none\.key: cannot be read: No such file"):
        read_public_key(tmp_path / "none.key")
    with pytest.raises(KeyFileError, match=r"is no file|Is a directory|Permission denied"):
        read_key_pair(tmp_path)
    with pytest.raises(KeyFileError, match="Not a directory"):
        public_key_files(put(tmp_path / "file", b""))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.key", 0o600)
    with pytest.raises(KeyFileError, match=r"pipe\.key: is no file"):
        read_key_pair(tmp_path / "pipe.key")


def test_the_files_of_a_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for name in ("b.key", "a.key", "a.key_secret", "README", ".hidden.key"):
        put(tmp_path / name, b"")
    assert [path.name for path in public_key_files(tmp_path)] == [".hidden.key", "a.key", "b.key"]
