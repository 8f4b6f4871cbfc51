"""`[chip]` of the configuration file, and what a run may say otherwise: what the chips are set to."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from astropix_runtime.configuration import Section, describe_mistakes
from daqd.configuration.config_sections import CONFIG_FOLDER, ChipColumn, ChipRow
from daqd.errors import ConfigError
from protocol.registers.astep_registers import MAX_LAYERS
from protocol.stream_bytes import MAX_CHIPS

_NO_OVERRIDE = ("file", "method")
"""Keys that belong to the bench, and not to a run."""


class PixelChoice(Section):
    """`[row, column]` of a pixel of every chip (for an injection: of layer 1, chip 0), or that of one chip:
    `[chip, row, column]` in layer 1, `[layer, chip, row, column]` in any.

    Layers count from 1, chips along the chain of their layer from 0.
    """

    layer: int | None = Field(None, ge=1, le=MAX_LAYERS)
    chip: int | None = Field(None, ge=0, lt=MAX_CHIPS)
    row: ChipRow
    column: ChipColumn

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        if isinstance(value, dict | cls):
            return value
        if not isinstance(value, list | tuple) or len(value) not in (2, 3, 4):
            raise ValueError(f"{value!r} should be [row, column], [chip, row, column] or [layer, chip, row, column]")
        names = ("layer", "chip", "row", "column")
        return dict(zip(names[-len(value) :], value, strict=True))

    @model_validator(mode="after")
    def _layer_names_a_chip(self) -> Self:
        if self.layer is not None and self.chip is None:
            raise ValueError(f"names layer {self.layer} and no chip: [layer, chip, row, column]")
        return self


PixelChoices = Annotated[tuple[PixelChoice, ...], Field(strict=False)]


class MaskSection(Section):
    """`[chip.mask]`: which pixels are on. First `all` ("" leaves what the file says), then `enable`, then `disable`."""

    all: Literal["", "on", "off"] = ""
    enable: PixelChoices = ()
    disable: PixelChoices = ()


class ChipSettings(Section):
    """`[chip]`: what the chips and the cards are set to; what is not given is as the chip's own file says.

    `file` is relative to the configuration file; empty stands for the usual values. `threshold_mv` is above the
    baseline: `BL` of the voltage card, or `blpix` of the chip, as `threshold_output` says ("auto": of the card where
    the board has one). `inject` switches the pattern generator on, with `vinj_mv` (None: as in the chip's file).
    """

    file: str = ""
    method: Literal["shift-register", "spi"] = "shift-register"
    threshold_mv: float | None = Field(None, ge=0, le=1500, allow_inf_nan=False)
    threshold_output: Literal["auto", "card", "chip"] = "auto"
    mask: MaskSection = MaskSection()
    inject: PixelChoice | None = None
    vinj_mv: float | None = Field(None, ge=0, le=1800, allow_inf_nan=False)
    inject_output: Literal["chip", "card"] = "chip"
    inject_period: int = Field(100, ge=0, le=0xFF)
    inject_divider: int = Field(300, ge=0, le=0xFFFF)
    inject_delay: int = Field(100, ge=0, le=0xFFFF)
    inject_cycle: int = Field(0, ge=0, le=0xFFFF)
    inject_pulses: int = Field(1, ge=0, le=0xFF)
    analog_column: ChipColumn | None = None
    vcal: float = Field(0.989, ge=0.9, le=1.1)
    vsupply: float = Field(2.7, ge=2.7, le=3.3)

    @field_validator("file")
    @classmethod
    def _file_is_there(cls, file: str, info: ValidationInfo) -> str:
        folder = (info.context or {}).get(CONFIG_FOLDER)
        if not file or folder is None:
            return file
        path = folder / Path(file).expanduser()
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
        return str(path)

    def overridden(self, overrides: dict[str, Any]) -> Self:
        """These settings with what a run wants otherwise: keys as in `[chip]`, but for `file` and `method`.

        Keys of `mask` not given stay; None for a key takes its default. Raises `ConfigError` with every mistake.
        """
        forbidden = [f"{key}: cannot be changed for a run" for key in _NO_OVERRIDE if key in overrides]
        if forbidden:
            raise ConfigError(forbidden)
        values = self.model_dump()
        for key, value in overrides.items():
            if value is None and key in type(self).model_fields:
                values[key] = type(self).model_fields[key].default
            elif key == "mask" and isinstance(value, dict):
                values[key] = {**values[key], **value}
            else:
                values[key] = value
        try:
            return type(self).model_validate(values)
        except ValidationError as error:
            raise ConfigError(describe_mistakes(error, type(self))) from None
