"""The configuration file of `apx-sanity`: one TOML file, checked as a whole before anything starts.

`config/sanity.toml` has every key with its meaning. `load_configuration` reports all mistakes at once, each with its
path in the file, what is wrong and what is allowed.
"""

import math
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, create_model, field_validator, model_validator

from astropix_runtime.configuration import KeysSection, Section, describe_mistakes, read_toml
from astropix_runtime.sockets.endpoints import check_endpoint, only_this_machine
from monitor.control import default_control_endpoint
from monitor.detector import CHIPS, Geometry
from monitor.errors import ConfigError
from monitor.sanity.alarms.engine import Rule
from monitor.sanity.check import Check
from monitor.sanity.checks.check_table import BUILT_IN, CheckEntry, entries, with_modules
from monitor.sanity.checks.reference import Reference
from monitor.sanity.checks.reference_checks import with_reference
from monitor.sanity.configuration_sections import (
    CheckSettings,
    CommandSection,
    ControlSection,
    DetectorSection,
    LogSection,
    PublishSection,
    SanitySection,
    SilenceEntry,
    StreamSection,
    WebhookSection,
)
from protocol.wire.alarms import AlarmLevel


class Configuration(Section):
    """The whole file. Every key has a default."""

    sanity: SanitySection = SanitySection()
    stream: StreamSection = StreamSection()
    detector: DetectorSection = DetectorSection()
    security: KeysSection = KeysSection()
    publish: PublishSection = PublishSection()
    control: ControlSection = ControlSection()
    log: LogSection = LogSection()
    webhook: WebhookSection = WebhookSection()
    command: CommandSection = CommandSection()
    silences: tuple[SilenceEntry, ...] = Field((), strict=False)

    @field_validator("publish")
    @classmethod
    def _is_read_by_the_right_ones(cls, publish: PublishSection, info: ValidationInfo) -> PublishSection:
        security: KeysSection | None = info.data.get("security")
        if security is None or not publish.bind:
            return publish
        security.refuse_insecure(publish.insecure)
        if not only_this_machine(publish.bind) and not security.keys and not publish.insecure:
            raise ValueError(
                f'"{publish.bind}" lets every machine on the network read the alarms: make keys (daqctl keygen) and '
                "name them in [security], use tcp://127.0.0.1:PORT, or write insecure = true in [publish] if that is "
                "meant"
            )
        return publish

    @field_validator("control")
    @classmethod
    def _obeys_the_right_ones(cls, control: ControlSection, info: ValidationInfo) -> ControlSection:
        security: KeysSection | None = info.data.get("security")
        if security is None or not control.endpoint:
            return control
        if not only_this_machine(control.endpoint) and not security.keys:
            raise ValueError(
                f'"{control.endpoint}" lets other machines silence alarms: use ipc://PATH or tcp://127.0.0.1:PORT, or '
                "make keys (daqctl keygen) and name them in [security]"
            )
        return control

    @model_validator(mode="after")
    def _control_can_be_reached(self) -> Self:
        check_endpoint(self.control_endpoint)
        return self

    @property
    def control_endpoint(self) -> str:
        """Where the running checker is talked to."""
        return self.control.endpoint or default_control_endpoint(self.sanity.name)

    @property
    def directory(self) -> Path:
        """Where the state and the log of the alarms are."""
        if self.sanity.directory:
            return Path(self.sanity.directory).expanduser().absolute()
        if given := os.environ.get("STATE_DIRECTORY", "").split(":")[0]:
            return Path(given)
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        return state / "astropix-daq" / self.sanity.name

    @property
    def geometry(self) -> Geometry:
        """Pixels that exist."""
        return Geometry(self.detector.chips or CHIPS, self.detector.rows, self.detector.columns)


class SanityConfiguration:
    """A configuration and the checks that it names.

    `file`: what stands in it; `checks`: those that look and are enabled; `entries`: all that can raise alarms, whether
    enabled or not.
    """

    def __init__(self, file: Configuration, checks: Sequence[Check], folder: Path = Path()) -> None:
        self.file = file
        self.folder = folder
        self.entries = tuple(entries(checks))
        self.checks = tuple(check for check in checks if self.settings(check.name).enabled)

    def path(self, path: str) -> str:
        """A path that stands in the file, which is where it is relative to; empty: none."""
        return str(self.folder / Path(path).expanduser()) if path else ""

    @property
    def own_checks(self) -> frozenset[str]:
        """Names of those in `checks` that are of the user's modules."""
        return frozenset(check.name for check in self.checks) - {check.name for check in BUILT_IN}

    def settings(self, name: str) -> CheckSettings:
        """What is set of that check."""
        return cast(CheckSettings, getattr(self._settings, name))

    @cached_property
    def _settings(self) -> BaseModel:
        settings: BaseModel | None = getattr(self.file, "checks", None)
        return settings or _checks_model(self.entries)()

    @property
    def limits(self) -> Mapping[str, Mapping[str, float]]:
        """The limits of all checks: name of the check → name of the limit → value."""
        return {
            entry.name: {limit.name: getattr(self.settings(entry.name), limit.name) for limit in entry.limits}
            for entry in self.entries
        }

    @property
    def rules(self) -> tuple[Rule, ...]:
        """How the alarms of the checks come and go, of those that are enabled."""
        return tuple(
            _rule(entry, settings) for entry in self.entries if (settings := self.settings(entry.name)).enabled
        )


def _rule(entry: CheckEntry, settings: CheckSettings) -> Rule:
    return Rule(
        entry.name,
        entry.level,
        entry.advice,
        settings.in_a_row,
        settings.good_in_a_row,
        None if settings.level is None else AlarmLevel(settings.level),
    )


def _checks_model(all_entries: Sequence[CheckEntry]) -> type[Section]:
    """`[checks]`: a table for each check, with its limits."""
    fields: dict[str, Any] = {}
    for entry in all_entries:
        rows: dict[str, Any] = {
            limit.name: (float, Field(limit.default, ge=limit.least, le=most, allow_inf_nan=False))
            for limit in entry.limits
            for most in [None if math.isinf(limit.most) else limit.most]
        }
        for name in ("in_a_row", "good_in_a_row"):
            rows[name] = (int, Field(getattr(entry, name), ge=1, le=100_000))
        model = create_model(f"Settings_{entry.name}", __base__=CheckSettings, **rows)
        fields[entry.name] = (model, Field(default_factory=model))
    return create_model("ChecksSection", __base__=Section, **fields)


def default_configuration() -> SanityConfiguration:
    """What holds where nothing is configured."""
    return SanityConfiguration(Configuration(), with_modules((), Path())[0])


def load_configuration(path: Path | str) -> SanityConfiguration:
    """Read and check the file at `path`, and load the modules that it names.

    Raises `ConfigError` with every mistake of the file, one line each. A file that cannot be read, or is not TOML, is
    one mistake.
    """
    path = Path(path)
    values = read_toml(path, ConfigError)
    folder = path.absolute().parent
    checks, module_mistakes = with_modules(_modules(values), folder)
    mistakes = [f"sanity.modules[{index}]: {text}" for index, text in module_mistakes.items()]
    try:
        checks = _with_reference(checks, values, folder)
    except (OSError, ValueError) as error:
        mistakes.append(f"sanity.reference: {error}")
    section = _checks_model(tuple(entries(checks)))
    model = create_model("Configuration", __base__=Configuration, checks=(section, Field(default_factory=section)))
    try:
        file = model.model_validate(values)
    except ValidationError as error:
        found = describe_mistakes(error, model)
        if module_mistakes:  # what is set of checks in modules that cannot be had is not unknown
            found = [each for each in found if not re.match(r"checks\.[^.]+: unknown key: ", each)]
        mistakes += found
    if mistakes:
        raise ConfigError(mistakes, str(path))
    return SanityConfiguration(file, checks, folder)


def _with_reference(checks: tuple[Check, ...], values: Mapping[str, Any], folder: Path) -> tuple[Check, ...]:
    section = values.get("sanity")
    name = section.get("reference") if isinstance(section, dict) else None
    if not name or not isinstance(name, str):
        return checks
    return with_reference(checks, Reference.load(folder / Path(name).expanduser()))


def _modules(values: Mapping[str, Any]) -> list[str]:
    """The modules named, as far as they are named as they should be."""
    section = values.get("sanity")
    names = section.get("modules", []) if isinstance(section, dict) else []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
