"""From `[chip]` of the configuration, and the file it names, to what a board sets its chips to."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from astropix_runtime.configuration import read_text
from daqd.configuration.chip_settings import ChipSettings, PixelChoice
from daqd.configuration.config_sections import BoardSection
from daqd.errors import ConfigError
from protocol.chips.chip_config import ChipConfig, ChipConfigError
from protocol.chips.chip_file import ChipFile, usual_chip_file
from protocol.chips.chip_setup import ChipSetup, Injection, chip_name
from protocol.chips.chip_yaml import parse_chip_yaml


def load_chip_setup(settings: ChipSettings, board: BoardSection) -> ChipSetup:
    """What the chips of `board` are to be set to: `settings`, and the file that it names.

    Raises `ConfigError` with every mistake: in the file (with its path), or of `settings` (`chip.…`).
    """
    if not settings.file:
        return build_chip_setup(settings, usual_chip_file(board.chip_version), board)
    path = Path(settings.file)
    text = read_text(path, ConfigError)
    try:
        chip_file = parse_chip_yaml(text)
    except ChipConfigError as error:
        raise ConfigError(error.mistakes, str(path)) from error
    return build_chip_setup(settings, chip_file, board)


def build_chip_setup(settings: ChipSettings, chip_file: ChipFile, board: BoardSection) -> ChipSetup:
    """What the chips of `board` are to be set to: what `chip_file` says, with `settings` over it.

    A file with one chip goes for all chips; one with as many as a layer has, for each layer. Raises `ConfigError` with
    every mistake, each with its path in the configuration (`chip.inject: …`).
    """
    return _Builder(settings, chip_file, board).setup()


class _Builder:
    def __init__(self, settings: ChipSettings, chip_file: ChipFile, board: BoardSection) -> None:
        self._settings = settings
        self._file = chip_file
        self._board = board
        self._layers = board.layers if board.kind == "astep" else 1
        self._mistakes: list[str] = []
        self._chips: list[ChipConfig] = []
        self._cards = chip_file.cards
        self._undecided_threshold_mv: float | None = None

    def setup(self) -> ChipSetup:
        settings = self._settings
        if self._file.kind.number != self._board.chip_version:
            raise ConfigError(
                [
                    f"chip.file: is for {self._file.kind}, but board.chip_version = {self._board.chip_version}: "
                    "change the one or the other"
                ]
            )
        if self._board.kind == "gecco" and settings.method == "spi":
            self._mistakes.append("chip.method: the GECCO firmware configures chips by shift register only")
        self._chips = self._all_chips()
        self._try("vcal, vsupply", self._set_supply)
        self._mask()
        self._try("threshold_mv", self._threshold)
        injection = self._injection()
        self._try("analog_column", self._analog_output)
        for number, chip in enumerate(self._chips):
            if len(chip.analog_columns()) > 1:
                columns = ", ".join(map(str, chip.analog_columns()))
                name = chip_name(number, self._board.chips, self._layers)
                self._mistakes.append(
                    f"chip.file: {name} has the analogue output of columns {columns} on: one column only"
                )
        if self._mistakes:
            raise ConfigError(self._mistakes)
        return ChipSetup(
            chips=tuple(self._chips),
            cards=self._cards,
            injection=injection,
            layers=self._layers,
            method=settings.method,
            defaulted=self._file.defaulted if settings.file else ("chip.file: not given, usual values taken",),
            notes=self._file.unused + self._rows_not_sent(),
            threshold_mv=self._undecided_threshold_mv,
            threshold_output="auto" if settings.threshold_mv is None else settings.threshold_output,
        )

    def _all_chips(self) -> list[ChipConfig]:
        given, chain = list(self._file.chips), self._board.chips
        total = chain * self._layers
        if len(given) not in (1, chain, total):
            layers = f" in each of {self._layers} layers" if self._layers > 1 else ""
            raise ConfigError([f"chip.file: describes {len(given)} chips, but board.chips = {chain}{layers}"])
        return given * (total // len(given))

    def _try(self, key: str, action: Callable[[], None]) -> None:
        try:
            action()
        except ChipConfigError as error:
            self._mistakes += [f"chip.{key}: {mistake}" for mistake in error.mistakes]

    def _set_supply(self) -> None:
        self._cards = replace(self._cards, vcal=self._settings.vcal, vsupply_v=self._settings.vsupply)

    def _analog_output(self) -> None:
        column = self._settings.analog_column
        if column is not None:
            self._chips = [chip.with_analog_output(column) for chip in self._chips]

    def _mask(self) -> None:
        mask = self._settings.mask
        if mask.all:
            self._chips = [chip.with_all_pixels(mask.all == "on") for chip in self._chips]
        for name, pixels, on in (("enable", mask.enable, True), ("disable", mask.disable, False)):
            for index, pixel in enumerate(pixels):
                key = f"mask.{name}[{index}]"
                for number in self._numbers(key, pixel):
                    self._chips[number] = self._chips[number].with_pixel(pixel.row, pixel.column, on)

    def _numbers(self, key: str, pixel: PixelChoice) -> Iterable[int]:
        """Numbers (through all layers) of the chips that `pixel` names; none, and a mistake, if it does not exist."""
        kind = self._file.kind
        if pixel.row >= kind.rows or pixel.column >= kind.columns:
            self._mistakes.append(
                f"chip.{key}: there is no row {pixel.row}, column {pixel.column}: "
                f"{kind} has rows 0 to {kind.rows - 1} and columns 0 to {kind.columns - 1}"
            )
            return ()
        if pixel.chip is None:
            return range(len(self._chips))
        chain = self._board.chips
        if (pixel.layer or 1) > self._layers:
            layers = f"1 to {self._layers}" if self._layers > 1 else "this board has 1"
            self._mistakes.append(f"chip.{key}: there is no layer {pixel.layer}: {layers}")
        elif pixel.chip >= chain:
            hint = "; [layer, chip, row, column] names another layer's" if self._layers > 1 else ""
            self._mistakes.append(f"chip.{key}: there is no chip {pixel.chip}: 0 to {chain - 1}{hint}")
        else:
            return (self._number(pixel),)
        return ()

    def _number(self, pixel: PixelChoice) -> int:
        return ((pixel.layer or 1) - 1) * self._board.chips + (pixel.chip or 0)

    def _threshold(self) -> None:
        threshold_mv, output = self._settings.threshold_mv, self._settings.threshold_output
        if threshold_mv is None:
            return
        if output == "chip":
            self._chips = [chip.with_threshold_mv(threshold_mv) for chip in self._chips]
        elif output == "card" or self._board.kind == "gecco":
            self._cards = self._cards.with_threshold_mv(threshold_mv)
        else:
            self._undecided_threshold_mv = threshold_mv

    def _injection(self) -> Injection | None:
        settings = self._settings
        pixel = settings.inject
        if pixel is None:
            if settings.vinj_mv is not None:
                self._set_amplitude(settings.vinj_mv)
            return None
        if not self._numbers("inject", pixel):
            return None
        number = self._number(pixel)
        for index, disabled in enumerate(settings.mask.disable):
            same_chip = disabled.chip is None or self._number(disabled) == number
            if same_chip and (disabled.row, disabled.column) == (pixel.row, pixel.column):
                self._mistakes.append(
                    f"chip.inject: the pixel is switched off by chip.mask.disable[{index}]: "
                    "an injected pixel must be on"
                )
        if settings.vinj_mv is None and settings.inject_output == "card":
            self._mistakes.append("chip.vinj_mv: is missing: the injection card needs an amplitude")
            return None
        self._chips = [
            chip.with_injection(pixel.row, pixel.column) if index == number else chip.without_injection()
            for index, chip in enumerate(self._chips)
        ]
        if settings.vinj_mv is not None:
            self._set_amplitude(settings.vinj_mv)
        return Injection(
            chip=number,
            row=pixel.row,
            column=pixel.column,
            amplitude_mv=self._amplitude_mv(number),
            output=settings.inject_output,
            period=settings.inject_period,
            divider=settings.inject_divider,
            delay=settings.inject_delay,
            cycle=settings.inject_cycle,
            pulses=settings.inject_pulses,
        )

    def _set_amplitude(self, amplitude_mv: float) -> None:
        if self._settings.inject_output == "chip":
            self._chips = [chip.with_injection_mv(amplitude_mv) for chip in self._chips]

    def _amplitude_mv(self, number: int) -> float:
        """What was asked for; else what the chip's file says."""
        wanted = self._settings.vinj_mv
        return self._chips[number].injection_mv if wanted is None else wanted

    def _rows_not_sent(self) -> tuple[str, ...]:
        """TDAC rows reach the chip as one row, the first: others that differ from it have no effect."""
        different = any(row.value != chip.tdac_rows[0].value for chip in self._chips for row in chip.tdac_rows)
        return ("tdac_config: rows differ, and only row0 is sent to the chips",) if different else ()
