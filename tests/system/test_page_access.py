"""`apx-monitor serve` as others reach it: TLS and token; commands of the operator."""

import json
import re
import shutil
import ssl
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.system.laboratory import Laboratory
from tests.system.page import serve
from tests.system.programs import Program

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here to make a certificate with")


def ask(
    address: str, token: str = "", body: str | None = None, operator: str = "", trusted: Path | None = None
) -> tuple[int, bytes]:
    """Status and answer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {"X-Operator-Token": operator} if operator else {}
    data = None if body is None else body.encode()
    context = ssl.create_default_context(cafile=trusted) if trusted else None
    try:
        with urlopen(Request(address, data, headers), context=context) as answer:  # noqa: S310 - our own
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def certificate(tmp_path: Path, laboratory: Laboratory) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    made = laboratory.run_command([*command, "-keyout", str(key), "-out", str(cert)])
    assert made.code == 0, made.stderr
    return cert, key


@needs_openssl
def test_other_computers_need_tls_and_the_token(laboratory: Laboratory, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    program, address = serve(
        laboratory, "--address", "0.0.0.0", "--cert", cert, "--key-file", key, "--connect", "ipc://nobody"
    )
    match = re.fullmatch(r"(https://127\.0\.0\.1:\d+/)\?token=(\S{32,})", address)
    assert match
    assert program.output.count(match[2]) == 1
    page, token = match[1], match[2]
    assert ask(page, trusted=cert)[0] == 403
    assert ask(f"{page}state.json", token=token[::-1], trusted=cert)[0] == 403
    assert ask(f"{page}state.json", token=token, trusted=cert)[0] == 200
    assert b"astropix_monitor_up 0.0" in ask(f"{page}metrics", token=token, trusted=cert)[1]
    assert program.end() == 0


def operated(laboratory: Laboratory, folder: Path) -> tuple[Program, str, str, str]:
    """A page of an operator; its address, the endpoint, the token."""
    daemon = laboratory.configure().start()
    token = "token-of-the-operator"  # noqa: S105 - opens nothing
    path = folder / "operator.token"
    path.write_text(token)
    control = daemon.config.control_endpoint
    program, address = serve(
        laboratory, "--connect", daemon.endpoint, "--control", control, "--operator-token-file", path
    )
    return program, address, daemon.endpoint, token


def test_the_operator_starts_and_stops_a_run(laboratory: Laboratory, tmp_path: Path) -> None:
    program, address, stream, token = operated(laboratory, tmp_path)
    start, stop = f"{address}control/start", f"{address}control/stop"
    assert ask(start, body="{}")[0] == 403
    code, answer = ask(start, body='{"comment": "from the page"}', operator=token)
    assert (code, json.loads(answer)) == (200, {"ok": True, "run": 1, "state": "running"})
    code, answer = ask(start, body="{}", operator=token)
    assert code == 409
    assert "run 1" in json.loads(answer)["message"]
    assert ask(stop, body="", operator=token)[0] == 200
    said = program.output
    assert program.end() == 0
    assert "without the operator's token was refused" in said
    assert token not in said
    _, looking = serve(laboratory, "--connect", stream)
    assert ask(f"{looking}control/start", body="{}", operator=token)[0] in (404, 405)
    run = laboratory.folder / "data" / "run_000001" / "run_000001.json"
    assert json.loads(run.read_text())["comment"] == "from the page"
