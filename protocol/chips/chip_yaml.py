"""The collaboration's YAML files of chip configurations (docs/chips.md, "Configuration file").

::

    astropix4:                    the version of the chip
      config:                     one chip; several: config_0, config_1, … along the chain
        vdacs:                    a group of values
          blpix: [10, 568]        bits, value; the order is that of the chip's shift register
      tdac_config:                version 4 (several: tdac_config_0, …)
        row0: [80, 0b00001_…]
      configcards:                the cards of the GECCO carrier
        voltagecard: {pos: 4, dacs: [0, 0, 1.1, 1, 0, 0, 0.8, 1.2]}
        injectioncard: {pos: 3}

`config` must be complete; of the rest, what is missing takes its usual value, and `ChipFile.defaulted` says so.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from protocol.chips.chip_config import ChipConfig, ChipConfigError
from protocol.chips.chip_file import ChipFile, chip_of_version, known_versions, usual_cards
from protocol.chips.chip_type import ChipType, ChipValue
from protocol.chips.gecco_cards import GeccoCards, shown_voltages
from protocol.chips.yaml_text import load_yaml, shown
from protocol.registers.astep_registers import MAX_LAYERS
from protocol.stream_bytes import MAX_CHIPS

_MAX_CHIPS: Final = MAX_LAYERS * MAX_CHIPS

_SECTIONS = ("general", "geometry", "telescope", "chain", "configcards", "config", "tdac_config")
_TYPING_MISTAKE: Final = 0.75
"""How much like a missing name an unknown one must be to be a typing mistake (1: equal)."""

_MAX_BITS: Final = 128
"""Of one value."""

_NUMBERED = re.compile(r"(config|tdac_config)_([0-9]{1,3})\Z")


def parse_chip_yaml(text: str) -> ChipFile:
    """Read the text of a file.

    Raises `ChipConfigError` with every mistake, one line each, beginning with its path (`astropix4.config.vdacs.vinj:
    1024 does not fit into 10 bits: 0 to 1023`) or, where it is no YAML, with its line.
    """
    tree, twice = load_yaml(text)
    return _Reading(twice).chip_file(tree)


class _Reading:
    """One reading of a file: goes through all of it and collects the mistakes."""

    def __init__(self, twice: list[tuple[str, int]]) -> None:
        self._twice = twice
        self._mistakes: list[str] = []
        self._defaulted: list[str] = []
        self._unused: list[str] = []

    def chip_file(self, tree: Any) -> ChipFile:
        found = self._version(tree)
        if found is None:
            raise ChipConfigError(self._mistakes)
        kind, root, sections = found
        columns = re.compile(r"col[0-9]+\Z")
        for key, line in self._twice:
            known = any(key == value.name for value in kind.values)
            if not columns.match(key) or known:
                self._mistakes.append(f"line {line}: {shown(key)} is given twice")
        self._geometry(kind, root, sections)
        chips = self._chips(kind, root, sections)
        cards = self._cards(kind, root, sections)
        for name in sections:
            if name not in _SECTIONS and not _NUMBERED.match(str(name)):
                close = difflib.get_close_matches(str(name), _SECTIONS, 1)
                self._unused.append(f"{root}.{shown(name)}: not known" + (f": is {close[0]} meant?" if close else ""))
        if self._mistakes or cards is None:
            raise ChipConfigError(self._mistakes)
        return ChipFile(chips, cards, tuple(self._defaulted), tuple(self._unused))

    def _version(self, tree: Any) -> tuple[ChipType, str, Mapping[Any, Any]] | None:
        roots = [key for key in tree if re.match(r"astropix[0-9]{1,4}\Z", str(key))] if isinstance(tree, dict) else []
        if len(roots) != 1:
            found = "several" if roots else "none"
            self._mistakes.append(f"file: should have one key astropixN at its top, with N the version: has {found}")
            return None
        root = str(roots[0])
        kind = chip_of_version(int(root.removeprefix("astropix")))
        if kind is None:
            self._mistakes.append(f"{root}: not known: {known_versions()}")
            return None
        if not isinstance(tree[root], dict):
            self._mistakes.append(f"{root}: should have sections (config, …) below it, not {shown(tree[root])}")
            return None
        return kind, root, tree[root]

    def _geometry(self, kind: ChipType, root: str, sections: Mapping[Any, Any]) -> None:
        geometry = self._section(root, "geometry", sections)
        for name, least in (("cols", kind.columns), ("rows", kind.rows)):
            value = geometry.get(name, least)
            if not _is_count(value):
                self._mistakes.append(f"{root}.geometry.{name}: {shown(value)} is not a whole number")
            elif value < least:
                self._mistakes.append(f"{root}.geometry.{name}: {value}, but {kind} has {least}")

    def _section(self, root: str, name: str, sections: Mapping[Any, Any]) -> Mapping[Any, Any]:
        section = sections.get(name)
        if section is None or isinstance(section, dict):
            return section or {}
        self._mistakes.append(f"{root}.{name}: should have names with values below it, not {shown(section)}")
        return {}

    def _chips(self, kind: ChipType, root: str, sections: Mapping[Any, Any]) -> tuple[ChipConfig, ...]:
        count = self._chip_count(root, sections)
        suffixes = [f"_{chip}" for chip in range(count)] if count else [""]
        for name in sections:
            match = _NUMBERED.match(str(name))
            if match and (not count or int(match[2]) >= count):
                self._mistakes.append(
                    f"{root}.{name}: " + (f"chips count from 0 to {count - 1}" if count else "config is there, too")
                )
        if count:
            for name in ("config", "tdac_config"):
                if name in sections:
                    self._mistakes.append(f"{root}.{name}: {name}_0, {name}_1, … are there, too")
        chips = []
        for suffix in suffixes:
            values = self._config(kind, f"{root}.config{suffix}", sections.get(f"config{suffix}"))
            rows = self._tdacs(kind, f"{root}.tdac_config{suffix}", sections.get(f"tdac_config{suffix}"))
            if values is not None and rows is not None:
                chips.append(ChipConfig(kind, values, rows))
        return tuple(chips)

    def _chip_count(self, root: str, sections: Mapping[Any, Any]) -> int:
        """How many chips `config_0`, … describe; 0 where it is one `config`."""
        numbers = [int(match[2]) for name in sections if (match := _NUMBERED.match(str(name))) and match[1] == "config"]
        count = 0 if "config" in sections or not numbers else max(numbers) + 1
        if count > _MAX_CHIPS:
            self._mistakes.append(f"{root}.config_{count - 1}: more than {_MAX_CHIPS} chips")
            count = _MAX_CHIPS
        for section, key in (("telescope", "nchips"), ("chain", "length")):
            wanted = self._section(root, section, sections).get(key)
            if wanted is not None and wanted != max(count, 1):
                self._mistakes.append(
                    f"{root}.{section}.{key}: {shown(wanted)}, but there are configurations of {max(count, 1)}"
                )
        return count

    def _config(self, kind: ChipType, path: str, config: Any) -> tuple[ChipValue, ...] | None:
        if not isinstance(config, dict):
            lack = "is missing" if config is None else f"should have groups below it, not {shown(config)}"
            self._mistakes.append(f"{path}: {lack}: groups {', '.join(kind.groups)}")
            return None
        before = len(self._mistakes)
        values: list[ChipValue] = []
        for group in kind.groups:
            usual = {value.name: value for value in kind.values if value.group == group}
            if group not in config:
                self._mistakes.append(f"{path}.{group}: is missing")
            elif not isinstance(config[group], dict):
                self._mistakes.append(
                    f"{path}.{group}: should have names with [bits, value] below it, not {shown(config[group])}"
                )
            else:
                values += self._group(kind, f"{path}.{group}", usual, config[group])
        self._unknown(path, kind.groups, config, "group")
        self._check_order(path, kind.groups, config)
        return tuple(values) if len(self._mistakes) == before else None

    def _group(
        self, kind: ChipType, path: str, usual: Mapping[str, ChipValue], group: Mapping[Any, Any]
    ) -> list[ChipValue]:
        extra = [str(name) for name in group if re.match(r"col[0-9]+\Z", str(name)) and name not in usual]
        if extra:
            self._unused.append(f"{path}: {kind} has {kind.columns} columns: {', '.join(extra)} not sent")
        expected_at = self._strangers(path, usual, [name for name in group if name not in extra])
        self._mistakes += [
            f"{path}.{name}: is missing" for name in usual if name not in group and name not in expected_at.values()
        ]
        values = []
        for name, given in group.items():
            if name in usual or name in expected_at:
                expected = usual.get(name) or usual.get(expected_at[name])
                value = self._value(f"{path}.{name}", expected, given)
                if value is not None:
                    values.append(replace(value, group=next(iter(usual.values())).group, name=str(name)))
        self._unknown(path, (*usual, *extra, *expected_at), group, "value")
        self._check_order(path, tuple(usual), group)
        return values

    def _strangers(self, path: str, usual: Mapping[str, ChipValue], names: list[Any]) -> dict[str, str]:
        """Unknown names that are kept, with the name whose place each takes; empty for an additional one.

        A name that is much like one that is missing is a typing mistake, and not kept.
        """
        order, missing = list(usual), [name for name in usual if name not in names]
        kept: dict[str, str] = {}
        for place, name in enumerate(names):
            if (
                name in usual
                or not isinstance(name, str)
                or difflib.get_close_matches(name, missing, 1, _TYPING_MISTAKE)
            ):
                continue
            if len(names) == len(order) and order[place] in missing:
                kept[name] = order[place]
                self._unused.append(f"{path}.{name}: unknown value, sent in the place of {order[place]}")
            elif not missing:
                kept[name] = ""
                self._unused.append(f"{path}.{name}: unknown value, sent as it is: the chip gets more bits than usual")
        return kept

    def _value(self, path: str, expected: ChipValue | None, given: Any) -> ChipValue | None:
        if not isinstance(given, list) or len(given) != 2 or not all(_is_count(number) for number in given):
            self._mistakes.append(f"{path}: should be [bits, value], whole numbers ≥ 0, not {shown(given)}")
            return None
        bits, value = given
        if expected is None and not 1 <= bits <= _MAX_BITS:
            self._mistakes.append(f"{path}: should have 1 to {_MAX_BITS} bits, not {shown(bits)}")
            return None
        if expected is not None and bits != expected.bits:
            self._mistakes.append(f"{path}: has {expected.bits} bits, not {shown(bits)}")
            return None
        if value >= 1 << bits:
            self._mistakes.append(f"{path}: {shown(value)} does not fit into {bits} bits: 0 to {(1 << bits) - 1}")
            return None
        return ChipValue("", "", bits, value) if expected is None else replace(expected, value=value)

    def _unknown(self, path: str, known: tuple[str, ...], given: Mapping[Any, Any], what: str) -> None:
        for name in given:
            if name not in known:
                close = difflib.get_close_matches(str(name), known, 1)
                self._mistakes.append(
                    f"{path}.{shown(name)}: unknown {what}" + (f": is {close[0]} meant?" if close else "")
                )

    def _check_order(self, path: str, known: tuple[str, ...], given: Mapping[Any, Any]) -> None:
        """The order in the file is the order in the chip: one that was sorted would set other values than it seems."""
        mine = [name for name in given if name in known]
        theirs = [name for name in known if name in given]
        for given_name, right_name in zip(mine, theirs, strict=True):
            if given_name != right_name:
                self._mistakes.append(
                    f"{path}.{given_name}: comes where {right_name} should: the order must be that of the chip"
                )
                return

    def _tdacs(self, kind: ChipType, path: str, section: Any) -> tuple[ChipValue, ...] | None:
        before = len(self._mistakes)
        if not kind.tdac_rows:
            if section is not None:
                self._unused.append(f"{path}: {kind} has no TDACs: not sent")
            return ()
        if section is None:
            self._defaulted.append(f"{path}: not in the file, usual values taken: 1 in every pixel")
            return kind.tdac_rows
        if not isinstance(section, dict):
            self._mistakes.append(f"{path}: should have row0, row1, … below it, not {shown(section)}")
            return None
        rows = []
        for usual in kind.tdac_rows:
            if usual.name not in section:
                self._defaulted.append(f"{path}.{usual.name}: not in the file, usual values taken: 1 in every pixel")
                rows.append(usual)
            elif (row := self._value(f"{path}.{usual.name}", usual, section[usual.name])) is not None:
                rows.append(row)
        known = tuple(usual.name for usual in kind.tdac_rows)
        beyond = tuple(str(name) for name in section if re.match(r"row[0-9]+\Z", str(name)) and name not in known)
        if beyond:
            self._unused.append(f"{path}: {kind} has {len(known)} rows: {', '.join(beyond)} not sent")
        self._unknown(path, (*known, *beyond), section, "row")
        return tuple(rows) if len(self._mistakes) == before else None

    def _cards(self, kind: ChipType, root: str, sections: Mapping[Any, Any]) -> GeccoCards | None:
        usual = usual_cards(kind)
        path = f"{root}.configcards"
        cards = self._section(root, "configcards", sections)
        before = len(self._mistakes)
        values: dict[str, Any] = {"dacs_v": usual.dacs_v}
        for card, key, field, taken in (
            ("voltagecard", "pos", "voltage_slot", f"slot {usual.voltage_slot}"),
            ("voltagecard", "dacs", "dacs_v", shown_voltages(usual.dacs_v)),
            ("injectioncard", "pos", "injection_slot", f"slot {usual.injection_slot}"),
        ):
            given = self._section(path, card, cards).get(key)
            if given is None:
                self._defaulted.append(f"{path}.{card}.{key}: not in the file, usual value taken: {taken}")
            elif key == "pos" and _is_count(given):
                values[field] = given
            elif key == "dacs" and isinstance(given, list) and all(_is_voltage(value) for value in given):
                values[field] = tuple(float(value) for value in given)
            else:
                wanted = "a slot number" if key == "pos" else "a list of voltages in V"
                self._mistakes.append(f"{path}.{card}.{key}: should be {wanted}, not {shown(given)}")
        self._unknown(path, ("voltagecard", "injectioncard"), cards, "card")
        if len(self._mistakes) > before:
            return None
        try:
            return GeccoCards(**values)
        except ChipConfigError as error:
            self._mistakes += [f"{path}.{mistake}" for mistake in error.mistakes]
            return None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_voltage(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
