"""The configuration: what is accepted, and what is said of what is not."""

import itertools
import os
import tempfile
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from astropix_runtime.sockets.endpoints import (
    check_control_endpoint,
    check_endpoint,
    check_stream_endpoint,
    connectable,
    default_runtime_dir,
    is_loopback,
)
from daqd.configuration.config import Config, EmulatorSection, load_config
from daqd.errors import ConfigError

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "emulated.toml"
BOARD = '[board]\ntransport = "emulated"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/daqd")
    return tmp_path


def load(folder: Path, text: str) -> Config:
    path = folder / "daq.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def mistakes(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return caught.value.mistakes


def test_the_shipped_file_has_every_key_with_its_default() -> None:
    shipped = load_config(SHIPPED)
    default = Config.model_validate({"board": {"transport": "emulated"}})
    examples = {"hot_pixels": (), "dead_pixels": ()}
    assert shipped.model_copy(update={"emulator": shipped.emulator.model_copy(update=examples)}) == default

    text = SHIPPED.read_text(encoding="utf-8")
    for name in Config.model_fields:
        assert f"[{name}]" in text
        for key in type(getattr(default, name)).model_fields:
            # A key that need not be given is shown as a comment.
            assert any(shown in text for shown in (f"\n{key} = ", f"\n# {key} = ", f"[{name}.{key}]")), f"{name}.{key}"


DAEMONS = sorted(path for path in SHIPPED.parent.glob("*.toml") if path.name != "sanity.toml")


@pytest.mark.parametrize("path", DAEMONS, ids=lambda path: path.name)
def test_every_value_of_the_shipped_files_is_commented(path: Path) -> None:
    load_config(path)
    commented = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if " = " in line and not line.startswith("#"):
            assert commented or " # " in line, line
        elif not line or line.startswith("["):
            commented = False
        else:
            commented = True


def test_the_board_is_all_that_is_needed(folder: Path) -> None:
    config = load(folder, BOARD)
    assert (config.board.kind, config.board.chips, config.board.readout_bytes) == ("gecco", 1, 2048)
    assert config.daq.data_dir == Path("data")
    assert config.runtime_dir == Path("/run/daqd")
    assert config.control_endpoint == "ipc:///run/daqd/bench.ipc"


def test_a_configuration_survives_being_handed_on(folder: Path) -> None:
    config = load(folder, BOARD + "chips = 2\n[emulator]\nrate_hz = 'max'\nhot_pixels = [[1, 2, 3, 4]]\n")
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert Config.model_validate(config.model_dump()) == config


def test_a_configuration_is_frozen(folder: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(folder, BOARD).board.chips = 2


def test_whole_numbers_are_numbers(folder: Path) -> None:
    config = load(folder, BOARD + "poll_interval_ms = 2\n[emulator]\nrate_hz = 10\nspeed = 2\n")
    assert (config.board.poll_interval_ms, config.emulator.rate_hz, config.emulator.speed) == (2.0, 10.0, 2.0)


def test_the_limits_of_the_disk_are_checked_against_each_other(folder: Path) -> None:
    disk = load(folder, BOARD + "[disk]\nwarning_mb = 100\ncritical_mb = 100\nwarning_hours = 0\n").disk
    assert (disk.warning_mb, disk.critical_mb, disk.warning_hours) == (100.0, 100.0, 0.0)
    with pytest.raises(ConfigError) as caught:
        load(folder, BOARD + "[disk]\nwarning_mb = 100\ncritical_mb = 101\nwarning_hours = -1\n")
    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == ["disk.critical_mb", "disk.warning_hours"]
    assert "101 is more than warning_mb = 100, which would warn too late" in caught.value.mistakes[0]


def test_all_mistakes_at_once(folder: Path) -> None:
    text = """
        [daq]
        name = "two words"
        colour = "red"
        [board]
        kind = "geko"
        chips = 32
        transpot = "emulated"
        readout_bytes = "many"
        [emulator]
        source = "file"
        rate_hz = 0
        seed = true
        hot_pixels = [[0, 1, 2], [0, 35, 1, 2.0], [0, 1, 1, 0]]
        speed = "fast"
        misbehave = { cut_hits = 2 }
        [stream]
        bind = "tcp://0.0.0.0:5556"
        batch_ms = 25
        [log]
        level = "loud"
        [control]
        endpoint = "tcp://192.168.1.2:1"
        [flies]
        """
    assert sorted(mistakes(folder, text)) == sorted(
        [
            'daq.name: "two words" is not allowed: it must be 1 to 64 letters, digits, "_", "." or "-", '
            "the first a letter or a digit",
            "daq.colour: unknown key: known here: name, data_dir, runtime_dir",
            "board.kind: \"geko\" is not known: 'gecco' or 'astep' is",
            "board.chips: 32 is not allowed: it must be 1 to 31",
            "board.transport: is missing: it must be given",
            "board.transpot: unknown key: is transport meant?",
            'board.readout_bytes: "many" is not a whole number',
            'emulator.file: source = "file" needs the path of an .apx file here',
            'emulator.rate_hz: it must be a number above 0, or "max"',
            "emulator.seed: true is not a whole number",
            "emulator.hot_pixels[0]: [0, 1, 2] should be [chip, row, column, factor], or [layer, chip, …]",
            "emulator.hot_pixels[1].row: 35 is not allowed: it must be 0 to 34",
            "emulator.hot_pixels[2].factor: 0 is not allowed: it must be above 0",
            'emulator.speed: it must be a number above 0, or "max"',
            "emulator.misbehave.cut_hits: 2 is not allowed: it must be 0 to 1",
            "stream.batch_ms: 25 is not allowed: it must be above 0 and at most 20",
            "log.level: \"loud\" is not known: 'debug', 'info', 'warning' or 'error' is",
            'control: "tcp://192.168.1.2:1" lets everybody who can reach it command the board: use ipc://PATH, or make '
            "keys (daqctl keygen) and name them in [security]",
            "flies: unknown key: is files meant?",
        ]
    )


def test_the_error_names_the_file_in_every_line(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder, BOARD + "chips = 0\nspi_divider = 0\n")
    assert str(caught.value).splitlines() == [
        f"{folder / 'daq.toml'}: board.chips: 0 is not allowed: it must be 1 to 31",
        f"{folder / 'daq.toml'}: board.spi_divider: 0 is not allowed: it must be 1 to 255",
    ]


@pytest.mark.parametrize(
    ("kind", "readout_bytes", "queue_ahead", "fifo_bytes"),
    [("gecco", 2048, 15, 8192), ("gecco", 4096, 7, 8192), ("gecco", 32760, 1, 8192), ("gecco", 64, 15, 8192)],
)
def test_usual_values_of_a_gecco_board(kind: str, readout_bytes: int, queue_ahead: int, fifo_bytes: int) -> None:
    config = Config.model_validate({"board": {"kind": kind, "transport": "emulated", "readout_bytes": readout_bytes}})
    assert (config.board.queue_ahead, config.emulator.fifo_bytes) == (queue_ahead, fifo_bytes)


def test_an_astep_board_has_other_limits() -> None:
    board = {"kind": "astep", "transport": "emulated", "readout_bytes": 60_001}
    config = Config.model_validate({"board": board})
    assert config.emulator.fifo_bytes == 65536


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "board: is missing: it must be given"),
        ("board = 3", "board: 3 is not a table"),
        (BOARD + "chips = 1.5", "board.chips: 1.5 is not a whole number"),
        (BOARD + "readout_bytes = 100", "board.readout_bytes: 100 is not a multiple of 8"),
        (BOARD + "readout_bytes = 32768", "board.readout_bytes: 32768 is more than a GECCO board can answer"),
        (
            BOARD + "queue_ahead = 16",
            "board.queue_ahead: 16 readouts of board.readout_bytes = 2048 are more than a GECCO board can answer "
            "at a time without losing bytes: queue_ahead = 15 at most",
        ),
        (
            BOARD + "readout_bytes = 16384\nqueue_ahead = 2",
            "board.queue_ahead: 2 readouts of board.readout_bytes = 16384",
        ),
        (BOARD + "layers = 2", "board.layers: 2 is not allowed: a GECCO board has one chain of chips"),
        (
            BOARD + '[astep]\nread = "fixed"\npacket_mode = false',
            'astep.read: "fixed" needs packet_mode: padding could come within a frame',
        ),
        (BOARD + "poll_interval_ms = nan", "board.poll_interval_ms: nan is not allowed: it must be 0 to 1000"),
        (BOARD + "[emulator]\nrate_hz = -1", 'emulator.rate_hz: it must be a number above 0, or "max"'),
        (BOARD + "[emulator]\nrate_hz = true", 'emulator.rate_hz: it must be a number above 0, or "max"'),
        (BOARD + "[emulator]\nrate_hz = inf", 'emulator.rate_hz: it must be a number above 0, or "max"'),
        (BOARD + "[emulator]\nhot_pixels = 3", "emulator.hot_pixels: 3 is not a list"),
        (
            BOARD + "[emulator]\ndead_pixels = [7]",
            "emulator.dead_pixels[0]: 7 should be [chip, row, column], or [layer, chip, …]",
        ),
        (
            BOARD + "[emulator]\ndead_pixels = [[1, 0, 0]]",
            "emulator: dead_pixels[0] names chip 1, but board.chips = 1: chips count from 0 to 0",
        ),
        (
            BOARD + "[emulator]\nhot_pixels = [[2, 0, 0, 0, 3.0]]",
            "emulator: hot_pixels[0] names layer 2, but the board has 1",
        ),
        (
            BOARD + "[emulator]\nfifo_bytes = 1024",
            "emulator: fifo_bytes = 1024 holds no readout of board.readout_bytes = 2048",
        ),
        (BOARD + "[emulator.misbehave]\ngarbage = 1.1", "emulator.misbehave.garbage: 1.1 is not allowed: "),
        (BOARD + "[stream]\nbatch_ms = 0", "stream.batch_ms: 0 is not allowed: it must be above 0 and at most 20"),
        (BOARD + "[stream]\nbind = 'tcp://127.0.0.1'", 'stream.bind: "tcp://127.0.0.1" is no endpoint: '),
        (BOARD + "[stream]\nraw = 1", "stream.raw: 1 is not true or false"),
        (BOARD + "[daq]\ndata_dir = 1", "daq.data_dir: 1 is not"),
        (BOARD + "[files]\nmax_size_mb = 0", "files.max_size_mb: 0 is not allowed: it must be above 0"),
        (
            '[board]\ntransport = "serial"',
            'serial: board.transport = "serial" needs url: a device path, or socket://HOST:PORT',
        ),
        (BOARD + "[ftdi]\nlatency_ms = 0", "ftdi.latency_ms: 0 is not allowed: it must be 1 to 255"),
        (BOARD + "[astep]\ntimestamp_bits = 24", "astep.timestamp_bits: 24 is not known: 16, 32, 48 or 64 is"),
        (f"{BOARD}[daq]\nruntime_dir = '/{'x' * 120}'", f'file: "ipc:///{"x" * 120}/bench.ipc": the path of an ipc'),
    ],
)
def test_each_mistake_in_words(folder: Path, text: str, mistake: str) -> None:
    found = mistakes(folder, text)
    assert len(found) == 1
    assert found[0].startswith(mistake)


def test_broken_toml_says_the_line(folder: Path) -> None:
    (mistake,) = mistakes(folder, BOARD + "chips =\n")
    assert mistake.startswith("is not valid TOML: ")
    assert "line 3" in mistake


def test_files_that_cannot_be_read(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read: No such file"):
        load_config(folder / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(folder)
    (folder / "latin.toml").write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigError, match="is not UTF-8 text: byte 2"):
        load_config(folder / "latin.toml")


def test_the_recording_is_found_beside_the_configuration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "runs").mkdir()
    (folder / "runs" / "a.apx").write_bytes(b"")
    monkeypatch.chdir(folder / "runs")
    config = load(folder, BOARD + '[emulator]\nsource = "file"\nfile = "runs/a.apx"\n')
    assert Path(config.emulator.file) == folder / "runs" / "a.apx"
    (mistake,) = mistakes(folder, BOARD + '[emulator]\nsource = "file"\nfile = "a.apx"\n')
    assert mistake == f"emulator.file: there is no file {folder / 'a.apx'}"


def test_a_file_that_is_not_played_need_not_be_there(folder: Path) -> None:
    assert load(folder, BOARD + '[emulator]\nfile = "later.apx"\n').emulator.file == "later.apx"


def test_other_machines_only_where_it_is_written(folder: Path) -> None:
    text = BOARD + '[stream]\nbind = "tcp://0.0.0.0:5556"\n'
    assert len(mistakes(folder, text)) == 1
    assert load(folder, text + "insecure = true\n").stream.bind == "tcp://0.0.0.0:5556"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *[(host, True) for host in ("localhost", "127.0.0.1", "127.3.2.1", "[::1]", "::1")],
        *[(host, False) for host in ("*", "0.0.0.0", "[::]", "10.0.0.1", "localhost.example.org", "eth0", "")],
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:*", "tcp://[::1]:5556", "tcp://localhost:0", "ipc:///tmp/x"])
def test_local_endpoints(endpoint: str) -> None:
    check_stream_endpoint(endpoint, insecure=False, keys=False)
    check_control_endpoint(endpoint, keys=True)


@pytest.mark.parametrize(
    "endpoint", ["", "127.0.0.1:5556", "tcp://127.0.0.1:99999", "udp://127.0.0.1:1", "ipc://", "tcp://:1", "inproc://x"]
)
def test_what_is_no_endpoint(endpoint: str) -> None:
    for insecure, keys in itertools.product((False, True), repeat=2):
        with pytest.raises(ValueError, match=r"endpoint|ipc socket"):
            check_stream_endpoint(endpoint, insecure=insecure, keys=keys)
        with pytest.raises(ValueError, match=r"endpoint|ipc socket"):
            check_control_endpoint(endpoint, keys=keys)


@pytest.mark.parametrize(
    "endpoint", ["tcp://0.0.0.0:1", "tcp://*:1", "tcp://10.1.2.3:1", "tcp://daq-pc:1", "tcp://[::]:1"]
)
def test_other_machines_read_the_stream_with_keys_or_the_operator_s_consent(endpoint: str) -> None:
    check_stream_endpoint(endpoint, insecure=False, keys=True)
    check_stream_endpoint(endpoint, insecure=True, keys=False)
    with pytest.raises(
        ValueError, match=r"lets every machine on the network read the stream: make keys.*insecure = true"
    ):
        check_stream_endpoint(endpoint, insecure=False, keys=False)


@pytest.mark.parametrize("endpoint", ["tcp://*:5558", "tcp://127.0.0.1:5558", "tcp://[::1]:5558"])
def test_nobody_commands_over_tcp_without_keys(endpoint: str) -> None:
    check_control_endpoint(endpoint, keys=True)
    with pytest.raises(
        ValueError, match="lets everybody who can reach it command the board: use ipc://PATH, or make keys"
    ):
        check_control_endpoint(endpoint, keys=False)


@pytest.mark.parametrize(
    ("endpoint", "here"),
    [
        ("tcp://*:5558", "tcp://127.0.0.1:5558"),
        ("tcp://0.0.0.0:5558", "tcp://127.0.0.1:5558"),
        ("tcp://10.0.0.1:5558", "tcp://10.0.0.1:5558"),
        ("ipc:///tmp/x", "ipc:///tmp/x"),
    ],
)
def test_where_to_connect_on_this_machine(endpoint: str, here: str) -> None:
    assert connectable(endpoint) == here


SECURITY = '[security]\nserver_key = "keys/daq.key_secret"\nclient_keys = "/etc/keys"\n'


def test_keys_are_relative_to_the_file(folder: Path) -> None:
    security = load(folder, BOARD + SECURITY).security
    assert security.server_key == str(folder / "keys/daq.key_secret")
    assert security.client_keys == "/etc/keys"
    assert security.keys
    assert not load(folder, BOARD).security.keys


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ('[security]\nserver_key = "a"\n', "security: server_key and client_keys go together: daqctl keygen"),
        ('[security]\nclient_keys = "a"\n', "security: server_key and client_keys go together: daqctl keygen"),
        (f"{SECURITY}[stream]\ninsecure = true\n", "stream: insecure = true and the keys of [security] contradict"),
        ('[stream]\nbind = "tcp://0.0.0.0:1"\n', 'stream: "tcp://0.0.0.0:1" lets every machine on the network read'),
        ('[control]\nendpoint = "tcp://127.0.0.1:1"\n', 'control: "tcp://127.0.0.1:1" lets everybody who can'),
        (
            '[stream]\ninsecure = true\nbind = "tcp://0.0.0.0:1"\n[control]\nendpoint = "tcp://127.0.0.1:1"\n',
            'control: "tcp://127.0.0.1:1" lets everybody who can',
        ),
    ],
)
def test_what_the_keys_rule_out(folder: Path, text: str, mistake: str) -> None:
    (found,) = mistakes(folder, BOARD + text)
    assert found.startswith(mistake)


def test_with_keys_other_machines_read_and_command(folder: Path) -> None:
    sockets = '[stream]\nbind = "tcp://0.0.0.0:5556"\n[control]\nendpoint = "tcp://0.0.0.0:5558"\n'
    config = load(folder, BOARD + SECURITY + sockets)
    assert (config.stream.bind, config.control_endpoint) == ("tcp://0.0.0.0:5556", "tcp://0.0.0.0:5558")


def test_where_sockets_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/a:/run/b")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert default_runtime_dir() == Path("/run/a")
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    assert default_runtime_dir() == Path("/run/user/7/astropix-daq")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
    assert default_runtime_dir() == Path(f"/var/tmp/astropix-daq-{os.getuid()}")


def test_sockets_do_not_live_where_their_paths_would_be_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some clusters give each job a directory for temporary files of a hundred letters."""
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", "/scratch/" + "j" * 50)
    assert default_runtime_dir() == Path(f"/scratch/{'j' * 50}/astropix-daq-{os.getuid()}")
    monkeypatch.setattr(tempfile, "tempdir", "/scratch/" + "j" * 51)
    assert default_runtime_dir() == Path(f"/tmp/astropix-daq-{os.getuid()}")
    check_endpoint(f"ipc:///scratch/{'j' * 50}/astropix-daq-{1 << 32}/a-long-name.sanity.ipc")


def test_a_runtime_directory_of_ones_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    config = load(folder, BOARD + '[daq]\nname = "b2"\nruntime_dir = "run"\n')
    assert config.runtime_dir == folder / "run"
    assert config.control_endpoint == f"ipc://{folder}/run/b2.ipc"
    keys = '[security]\nserver_key = "a"\nclient_keys = "b"\n'
    explicit = load(folder, BOARD + keys + '[control]\nendpoint = "tcp://127.0.0.1:5558"\n')
    assert explicit.control_endpoint == "tcp://127.0.0.1:5558"


@pytest.mark.parametrize("keys", [{"seed": -1}, {"hits_limit": -1}, {"tot_mean_us": 0}, {"link_latency_ms": -0.1}])
def test_impossible_emulators(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(keys))):
        EmulatorSection.model_validate(keys)


def test_a_value_of_many_lines_is_one_line_of_error(tmp_path: Path) -> None:
    path = tmp_path / "lines.toml"
    path.write_text('[board]\ntransport = "emulated"\nspi_hz = """\none\n\x1b[2Jtwo"""\n'.replace("\x1b", "\\u001b"))
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    assert raised.value.mistakes == ('board.spi_hz: "one??[2Jtwo" is not a number',)


def test_a_first_look_needs_little_room_on_the_disk() -> None:
    """Where five gigabytes are left, a demonstration has no reason to complain."""
    template = (files("daqd.commands") / "demo.toml").read_text(encoding="utf-8")
    given = template.format(runtime_dir='"r"', data_dir='"d"', chips=4, rate_hz=2000.0, bind='"tcp://127.0.0.1:*"')
    disk = Config.model_validate(tomllib.loads(given)).disk
    assert (disk.warning_mb, disk.critical_mb, disk.warning_hours) == (100.0, 50.0, 0.0)
