"""What the chips are set to, from the command line: the same for `daqd configure` and for the start of a run."""

import argparse
from typing import Any

_PIXEL = "[[LAYER,]CHIP,]ROW,COLUMN"
_TITLE = "chips (over what [chip] of the configuration says)"


def add_chip_arguments(parser: argparse.ArgumentParser) -> None:
    """Add threshold, injection, analogue output and pixel mask."""
    group = parser.add_argument_group(_TITLE)
    group.add_argument("--threshold", type=float, metavar="MV", help="threshold above the baseline in mV")
    group.add_argument("--inject", type=_pixel, metavar=_PIXEL, help="inject into this pixel; layers count from 1")
    group.add_argument("--vinj", type=float, metavar="MV", help="amplitude of the injection in mV")
    group.add_argument("--analog", type=int, metavar="COLUMN", help="analogue output of this column")
    group.add_argument("--pixels", choices=("on", "off"), help="switch all pixels on or off")
    for name in ("enable", "disable"):
        group.add_argument(
            f"--{name}",
            type=_pixel,
            action="append",
            metavar=_PIXEL,
            help=f"then {name} this pixel; may be given many times",
        )


def chip_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """What was given, for `ChipSettings.overridden`: empty where nothing was."""
    names = {"threshold": "threshold_mv", "inject": "inject", "vinj": "vinj_mv", "analog": "analog_column"}
    overrides = {key: getattr(args, name) for name, key in names.items() if getattr(args, name) is not None}
    mask = {"all": args.pixels, "enable": args.enable, "disable": args.disable}
    given = {key: value for key, value in mask.items() if value is not None}
    return {**overrides, **({"mask": given} if given else {})}


def _pixel(text: str) -> list[int]:
    parts = text.split(",")
    if len(parts) not in (2, 3, 4) or not all(part.isascii() and part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not {_PIXEL}")
    return [int(part) for part in parts]
