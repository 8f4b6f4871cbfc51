"""docker-compose.yml: read by docker-compose, and its commands run here, without containers, as they stand there."""

import itertools
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from daqd.cli import build_parser as daqd_parser
from daqd.configuration.config import load_config
from daqd.ctl import build_parser as daqctl_parser
from monitor.cli import build_parser as monitor_parser
from monitor.sanity.alarms.alarm_commands import build_parser as alarms_parser
from monitor.sanity.cli import build_parser as sanity_parser
from monitor.sanity.configuration import load_configuration
from tests.conftest import REPOSITORY
from tests.system.compose_files import COMPOSE, OPERATOR, OWN_PROGRAMS, USB, Here, load, mounts, services
from tests.system.laboratory import Laboratory
from tests.system.processes import DEADLINE_S, wait_until
from tests.system.programs import program_path

PARSERS = {
    "daqd": daqd_parser,
    "daqctl": daqctl_parser,
    "apx-monitor": monitor_parser,
    "apx-sanity": sanity_parser,
    "apx-sanity alarms": alarms_parser,
}
DASHBOARD = REPOSITORY / "config" / "grafana" / "dashboards" / "astropix.json"
ALERTS = REPOSITORY / "config" / "prometheus" / "alerts.yml"
OURS = [name for name, service in services().items() if service.get("build") == "."]


def health_command(service: dict[str, Any]) -> list[str]:
    """The first command of a health check; what follows a pipe is none of ours."""
    kind, *words = service["healthcheck"]["test"]
    return shlex.split(words[0].partition("|")[0]) if kind == "CMD-SHELL" else words


def own_commands() -> list[list[str]]:
    """Everything that containers are told to run of ours, health checks included."""
    commands = []
    for service in itertools.chain(*(load(path)["services"].values() for path in (COMPOSE, USB, OPERATOR))):
        commands += [service["command"]] if "command" in service else []
        commands += [health_command(service)] if "healthcheck" in service else []
    return [words for words in commands if words[0] in OWN_PROGRAMS]


def expressions() -> dict[str, str]:
    """What dashboard and alert rules ask Prometheus: where it stands → the expression."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = {f"annotation {each['name']}": each["expr"] for each in dashboard["annotations"]["list"] if "expr" in each}
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            found[f"panel {panel['title']} {target['refId']}"] = target["expr"]
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            found[f"alert {rule['alert']}"] = rule["expr"]
    return found


@pytest.mark.parametrize("files", [[COMPOSE], [COMPOSE, USB], [COMPOSE, OPERATOR]], ids=["emulated", "usb", "operator"])
def test_the_compose_file_is_valid(files: list[Path]) -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed")
    chosen = [word for path in files for word in ("-f", str(path))]
    checked = subprocess.run([program, *chosen, "config", "-q"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("words", own_commands(), ids=lambda words: " ".join(words[:2]))
def test_the_programs_take_their_arguments(words: list[str]) -> None:
    special = " ".join(words[:2]) in PARSERS
    PARSERS[" ".join(words[:2]) if special else words[0]]().parse_args(words[1:])


def operated(service: str) -> list[str]:
    """What the command of a service has more where there is an operator."""
    usual, command = services()[service]["command"], load(OPERATOR)["services"][service]["command"]
    assert command[: len(usual)] == usual
    return list(command[len(usual) :])


def test_only_the_page_sees_the_token_of_the_operator_and_only_where_it_is_wanted() -> None:
    volume = "keys-operator"
    assert volume not in COMPOSE.read_text()
    seen = {name: each["volumes"] for name, each in load(OPERATOR)["services"].items()}
    assert seen == {"keys": [f"{volume}:/keys/operator"], "monitor": [f"{volume}:/keys/operator:ro"]}
    assert operated("keys") == ["operator"]
    assert "--operator-token-file=/keys/operator/token" in operated("monitor")
    control = load_configuration(REPOSITORY / "config" / "compose" / "sanity.toml").file.control_endpoint
    assert f"--alarm-control={control}" in operated("monitor")
    assert re.search(r"install .* /keys/operator\b", (REPOSITORY / "Dockerfile").read_text())


def test_what_every_service_has() -> None:
    for name, service in services().items():
        assert service["restart"] == ("no" if name == "keys" else "unless-stopped"), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert name in OURS or re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", service["image"]), f"{name}: no fixed version"
        assert name in OURS or not service["user"].startswith(("0", "root")), name
        assert name == "keys" or service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: others could reach {port}"


def test_no_container_lives_in_the_network_of_another() -> None:
    """One that is started again has a new one, and who shared the old one hears of nobody any more."""
    assert {name: each["network_mode"] for name, each in services().items() if "network_mode" in each} == {
        "keys": "none"
    }


def test_what_is_mounted_is_there() -> None:
    volumes = set(load(COMPOSE)["volumes"])
    used = set()
    for name, service in services().items():
        inside = mounts(service)
        for what in inside.values():
            assert (REPOSITORY / what).is_dir() if what.startswith(".") else what in volumes, f"{name}: {what}"
            used.add(what)
        said = [*service.get("command", []), *map(str, service.get("environment", {}).values())]
        for path in (each.partition("=")[2] or each for each in said):
            if not path.startswith("/") or name == "keys":
                continue
            where, what = next((pair for pair in inside.items() if path.startswith(pair[0])), ("", ""))
            assert where, f"{name}: nothing is mounted where {path} should be"
            if what.startswith("."):
                assert (REPOSITORY / what / path[len(where) + 1 :]).exists(), f"{name}: {path}"
    assert used >= volumes


@pytest.mark.parametrize("name", ["daqd.toml", "usb.toml"])
def test_the_configurations_are_valid(name: str) -> None:
    config = load_config(REPOSITORY / "config" / "compose" / name)
    assert config.security.keys
    assert not config.stream.insecure
    assert str(config.daq.data_dir) == "/data"
    assert str(config.runtime_dir) == "/run/astropix-daq"
    assert (config.board.transport == "emulated") == (name == "daqd.toml")


def test_the_configuration_of_the_checker_is_valid() -> None:
    configuration = load_configuration(REPOSITORY / "config" / "compose" / "sanity.toml")
    assert configuration.file.sanity.directory == "/alarms"
    assert f"--alarms={configuration.file.publish.bind}" in services()["monitor"]["command"]
    socket = Path(configuration.file.publish.bind.removeprefix("ipc://"))
    shared = {name: mounts(services()[name])[str(socket.parent)] for name in ("monitor", "sanity")}
    assert len(set(shared.values())) == 1 and set(shared.values()) < set(load(COMPOSE)["volumes"]), shared


def test_the_image_has_what_the_containers_are_told() -> None:
    """The Dockerfile is run by hand only (docs/operations.md); what it says can be held against the rest."""
    text = (REPOSITORY / "Dockerfile").read_text()
    build, final = text.split("FROM ")[1:]
    assert "pip" not in final
    assert re.search(r"^USER daq$", final, re.MULTILINE)
    assert "--require-hashes -r requirements.lock" in build
    copied = set(re.findall(r"^COPY (\w+) \1$", build, re.MULTILINE))
    packages = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")} - {"tests"}
    assert copied == packages
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", build, re.MULTILINE):
        for path in line.split():
            assert (REPOSITORY / path).exists() and path not in ignored, path
    for name in OURS:
        for where in mounts(services()[name]):
            assert where == "/config" or re.search(rf"install .* {where}\b", final), f"{name}: {where}"


class Containers:
    """What docker-compose would start of ours, each as a process of this computer."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory
        self.here = Here.at(laboratory.runtime_dir / "containers")
        for name in (
            "run/astropix-daq",
            "run/apx-sanity",
            "keys/daqd",
            "keys/reader",
            "keys/page",
            "keys/operator",
            "data",
            "alarms",
        ):
            (self.here.folder / name).mkdir(parents=True, mode=0o700)
        shutil.copytree(REPOSITORY / "config", self.here.folder / "config")
        for path in (self.here.folder / "config" / "compose").glob("*.toml"):
            path.write_text(self.here.text(path.read_text()))
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RUNTIME_DIRECTORY": str(self.here.folder / "run/astropix-daq"),
        }

    def run(self, words: list[str]) -> "subprocess.CompletedProcess[str]":
        """Run a command of a container to its end."""
        return subprocess.run(
            self.here.command(words),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **self._environment},
            timeout=DEADLINE_S,
        )

    def start(self, service: str, *more: str) -> Any:
        """Start what a service runs."""
        program, *arguments = self.here.command([*services()[service]["command"], *more])
        return self._laboratory.start_command([program_path(program), *arguments], self._environment)

    def healthy(self, service: str) -> bool:
        """What the service's health check says."""
        kind, *words = services()[service]["healthcheck"]["test"]
        return self.run(["sh", "-c", *words] if kind == "CMD-SHELL" else words).returncode == 0

    def wait_until_healthy(self, service: str) -> None:
        wait_until(f"{service} is healthy", lambda: self.healthy(service))

    def files(self, directory: str) -> dict[str, str]:
        """Names and contents of the files in a directory of keys."""
        folder = self.here.folder / directory
        return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}

    def acknowledge(self, alarm: str, token: str, operator: str) -> str:
        """From the page; what it says to that."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.here.ports['8050']}/alarms/ack",
            json.dumps({"id": alarm}).encode(),
            {"Authorization": f"Bearer {token}", "X-Operator-Token": operator, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:  # noqa: S310 - http, see above
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()

    def metrics(self, token: str | None) -> str:
        """As Prometheus asks for them."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.here.ports['8050']}/metrics")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:  # noqa: S310 - http, see above
            return str(answer.read().decode())


@pytest.fixture
def containers(laboratory: Laboratory) -> Containers:
    return Containers(laboratory)


def test_keys_are_made_once(containers: Containers) -> None:
    command = services()["keys"]["command"]
    first = containers.run(command)
    assert (first.returncode, first.stderr) == (0, "")
    made = {name: containers.files(f"keys/{name}") for name in ("daqd", "reader", "page")}
    assert set(made["daqd"]) == {"daqd.key", "daqd.key_secret", "clients/reader.key"}
    assert set(made["reader"]) == {"reader.key", "reader.key_secret", "daqd.key"}
    assert set(made["page"]) == {"token"}
    for path in (containers.here.folder / "keys").rglob("*.key_secret"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert containers.run(command).returncode == 0
    assert made == {name: containers.files(f"keys/{name}") for name in made}


def test_what_runs_in_the_containers(containers: Containers) -> None:
    """Daemon, page and sanity checker, each with the command line and the health check of the compose file.

    And Prometheus finds each name that the dashboard and the alert rules ask it for.
    """
    assert containers.run([*services()["keys"]["command"], *operated("keys")]).returncode == 0
    assert not containers.healthy("daqd")
    daqd = containers.start("daqd")
    containers.wait_until_healthy("daqd")
    assert not containers.healthy("monitor")
    monitor = containers.start("monitor", *operated("monitor"))
    containers.wait_until_healthy("monitor")
    assert not containers.healthy("sanity")
    sanity = containers.start("sanity")
    containers.wait_until_healthy("sanity")

    token = containers.files("keys/page")["token"].strip()
    scrape = yaml.safe_load((REPOSITORY / "config" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scrape["static_configs"] == [{"targets": ["monitor:8050"]}]
    assert scrape["authorization"] == {"type": "Bearer", "credentials_file": "/keys/page/token"}
    with pytest.raises(urllib.error.HTTPError, match="403"):
        containers.metrics(None)

    operator = containers.files("keys/operator")["token"].strip()
    assert "no alarm is nothing" in containers.acknowledge("nothing", token, operator), "asked of the checker"
    assert "no alarm is" not in containers.acknowledge("nothing", token, token)

    asked = expressions()
    assert len(asked) > 30
    names = {name for expression in asked.values() for name in re.findall(r"\bastropix_\w+", expression)}

    def exported() -> dict[str, list[dict[str, str]]] | None:
        samples: dict[str, list[dict[str, str]]] = {}
        for family in text_string_to_metric_families(containers.metrics(token)):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append(dict(sample.labels))
        # Some seconds into the run, the daemon knows how long the disk lasts.
        return samples if names <= set(samples) else None

    wait_until("the monitor hears of alarms", lambda: "\nastropix_sanity_up 1.0\n" in containers.metrics(token))
    samples = wait_until(f"all of these are exported: {sorted(names)}", exported)
    for where, expression in asked.items():
        for name, labels in re.findall(r"\b(astropix_\w+)\{([^}]*)\}", expression):
            for label, how, values in re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', labels):
                for value in values.split("|"):
                    assert any(each.get(label) == value for each in samples[name]), f"{where}: {label} {how} {value}"

    code = sanity.end()
    # Where there was time for it, it has found the hot pixel of the configuration.
    assert code == int("alarm raised: " in sanity.output), sanity.output
    assert [monitor.end(), daqd.end()] == [0, 0]


def test_the_dashboard_is_in_order() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    source = yaml.safe_load((REPOSITORY / "config/grafana/provisioning/datasources/prometheus.yml").read_text())
    provider = yaml.safe_load((REPOSITORY / "config/grafana/provisioning/dashboards/astropix.yml").read_text())
    inside = mounts(services()["grafana"])
    assert inside[provider["providers"][0]["options"]["path"]] == "./config/grafana/dashboards"
    uids = {each["uid"] for each in source["datasources"]}
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["title"] and panel["description"] and panel["targets"]
        assert {panel["datasource"]["uid"], *(each["datasource"]["uid"] for each in panel["targets"])} <= uids
        at = panel["gridPos"]
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, f"{panel['title']} lies over another"
        taken |= cells


def test_alerts_say_what_to_do() -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 10
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical"), rule
        assert rule["annotations"]["summary"] and rule["annotations"]["advice"], rule


def test_the_rules_fire(tmp_path: Path) -> None:
    """By Prometheus' own tool, on made-up data: each rule in its case, and none in a healthy run."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: Debian's package prometheus")
    tests = REPOSITORY / "tests" / "system" / "alerts_test.yml"
    done = subprocess.run([program, "test", "rules", str(tests)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    fired = {
        case["alertname"] for test in yaml.safe_load(tests.read_text())["tests"] for case in test["alert_rule_test"]
    }
    assert fired == {rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]}
