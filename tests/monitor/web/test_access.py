"""Who may look, from where, and what is refused at the start."""

from pathlib import Path

import pytest

from monitor.web.access import AccessError, is_loopback, needed_token, read_token, tls_context


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]"])
def test_this_computer_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    assert needed_token(host, None, tls=False, insecure=False) is None
    assert needed_token(host, "a-token-of-mine-00", tls=False, insecure=False) == "a-token-of-mine-00"


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "192.168.1.2", "::", "daq-pc", "localhost.example.org", "127.0.0.1.example", ""]
)
def test_other_computers_need_tls_and_a_token(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(AccessError, match=r"--cert and --key-file.*--insecure"):
        needed_token(host, None, tls=False, insecure=False)
    with pytest.raises(AccessError, match=r"--cert and --key-file"):
        needed_token(host, "a-token-of-mine-00", tls=False, insecure=False)
    made = needed_token(host, None, tls=True, insecure=False)
    assert made is not None
    assert len(made) >= 32
    assert made != needed_token(host, None, tls=True, insecure=False)
    assert needed_token(host, None, tls=False, insecure=True) is None


def test_tokens_that_can_be_guessed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    for bad in ("", "short", "with blanks in between it", "ümlaute-sind-keine-zeichen", "two\nlines-of-a-token-x"):
        path.write_text(bad)
        with pytest.raises(AccessError, match="openssl rand"):
            read_token(path)
    path.write_text("0123456789abcdef\n")
    assert read_token(path) == "0123456789abcdef"
    with pytest.raises(AccessError, match="cannot read the token"):
        read_token(tmp_path / "absent")


def test_certificates_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", Path(__file__)):
        with pytest.raises(AccessError, match="for TLS"):
            tls_context(path, path)
