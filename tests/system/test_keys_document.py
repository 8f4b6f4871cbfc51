"""docs/operations.md, "Keys and other machines": its commands are run as they are written, on two machines' homes."""

import os
import re
import tomllib
from pathlib import Path

import pytest

from daqd.configuration.config import load_config
from tests.system.free_ports import free_ports
from tests.system.laboratory import Laboratory
from tests.system.programs import program_path

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
SANITY = (REPOSITORY / "docs" / "sanity.md").read_text(encoding="utf-8")
SECTION = DOCUMENT.partition("\n## Keys and other machines\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```(\w+) (\S+)\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)

# Copies between the homes of the two machines, as the real one does between machines.
SCP = """\
#!/bin/sh
set -eu
there() { case "$1" in daq-pc:*) echo "$HOMES/daq-pc/${1#daq-pc:}" ;; *) echo "$1" ;; esac; }
exec cp "$(there "$1")" "$(there "$2")"
"""


@pytest.mark.skipif(os.name != "posix", reason="commands for a shell")
def test_the_commands(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback instead of a network, and free ports."""
    assert [(language, where) for language, where, _ in BLOCKS] == [
        ("sh", "daq-pc"), ("toml", "keys"), ("sh", "daq-pc"), ("sh", "alice"), ("sh", "alice"), ("python", "alice"),
        ("sh", "daq-pc"),
    ]  # fmt: skip
    homes = laboratory.folder / "homes"
    programs = laboratory.folder / "bin"
    programs.mkdir()
    (programs / "scp").write_text(SCP)
    (programs / "scp").chmod(0o755)
    path = f"{programs}:{Path(program_path('daqd')).parent}:{os.environ['PATH']}"
    ports = free_ports("5556", "5557", "5560")

    def here(text: str) -> str:
        for port, free in ports.items():
            text = re.sub(rf"tcp://(0\.0\.0\.0|daq-pc):{port}", f"tcp://127.0.0.1:{free}", text)
        return text

    def environment(where: str) -> dict[str, str]:
        (homes / where).mkdir(parents=True, exist_ok=True)
        return {"HOME": str(homes / where), "HOMES": str(homes), "PATH": path, "XDG_CONFIG_HOME": ""}

    def run(block: int) -> str:
        language, where, text = BLOCKS[block]
        cd = f"cd {homes / where}\n"
        command = ["sh", "-euc", cd + here(text)] if language == "sh" else [program_path("python"), "-c", here(text)]
        finished = laboratory.run_command(command, environment(where))
        assert finished.code == 0, f"{text}{finished.stdout}{finished.stderr}"
        return finished.stdout

    assert "daq-pc.key_secret" in run(0)
    daemon = laboratory.configure()
    sections = tomllib.loads(daemon.config_path.read_text())
    assert sections.pop("stream")
    text = daemon.config_path.read_text().partition("[stream]")[0]
    config = homes / "daq-pc" / "mine.toml"
    config.write_text(f"{text}\n{here(BLOCKS[1][2])}")
    monkeypatch.setenv("HOME", str(homes / "daq-pc"))
    assert load_config(config).security.keys
    assert run(2) == "mine.toml: no mistakes\n"
    daemon = laboratory.daemon(config).launch(environment=environment("daq-pc")).wait_until_serving()
    run(3)
    said = run(4)
    assert re.search(r"^IDLE .*^state +idle.*^run 1 is being taken.*^run 1 finished", said, re.MULTILINE | re.DOTALL)
    assert run(5) in ("stat\n", "run\n", "log\n")
    run(6)
    refused = laboratory.run_command(
        ["sh", "-c", here("cd ~/.config/astropix-daq; " + BLOCKS[4][2].splitlines()[1])], environment("alice")
    )
    assert refused.code == 1
    assert "it does not know this key" in refused.stderr
    assert daemon.end() == 0


def test_what_it_says_is_what_is_said() -> None:
    """The texts in the table are in the programs."""
    said = "".join(
        path.read_text(encoding="utf-8")
        for package in ("protocol", "astropix_runtime", "daqd", "monitor")
        for path in (Path(__file__).parents[2] / package).rglob("*.py")
    )
    rows = SECTION.partition("### When it does not work")[2].partition("### ")[0]
    texts = [text for row in re.findall(r"^\| (.*?) \|", rows, re.MULTILINE) for text in re.findall(r"`([^`]+)`", row)]
    assert len(texts) >= 10
    for text in texts:
        wanted = re.split(r" ?…|: chmod|the stream", text)[0]
        assert wanted in said, text


def test_daemon_and_sanity_checker_fit_on_one_machine() -> None:
    """Whoever follows both documents has both there: no port is used twice."""
    shipped = tomllib.loads((REPOSITORY / "config" / "sanity.toml").read_text())["publish"]["bind"]
    checker = {port for _, port in re.findall(r"(bind|endpoint) = \"tcp://[^:]+:(\d+)", SANITY)}
    daemon = [port for _, port in re.findall(r"(bind|catch_up|endpoint) = \"tcp://[^:]+:(\d+)", BLOCKS[1][2])]
    assert len(set(daemon)) == 3
    assert checker == {"5558", "5559"}
    assert shipped.endswith(":5558")
    assert not checker.intersection(daemon)
