"""AstroPix 3 and 4, with the values of their configurations in the order of their shift registers (docs/chips.md).

The clock of AstroPix 4 counts to 2^17 in steps of 50 ns, so no time over threshold is longer than 6553.55 µs, and bins
of 5 µs suit spectra of a few hundred µs. AstroPix 3 counts to 4095 in steps of 5 or 10 ns: 40.95 µs at most.
"""

from typing import Final

from protocol.astropix3_readout import AstroPix3LayerReadout, AstroPix3Readout
from protocol.chips.chip_type import COLUMN_BITS, COMPARATORS, TDAC_BITS, ChipType, ChipValue, register
from protocol.layer_readout import AstroPix4LayerReadout
from protocol.readout import AstroPix4Readout


def _group(group: str, values: str) -> tuple[ChipValue, ...]:
    """Values written as `name:bits=value`, in order."""
    parsed = []
    for text in values.split():
        name, _, rest = text.partition(":")
        bits, _, value = rest.partition("=")
        parsed.append(ChipValue(group, name, int(bits), int(value)))
    return tuple(parsed)


_ALL_OFF = ((1 << COMPARATORS) - 1) << 1
_TDAC_USUAL = 1

ASTROPIX4: Final = register(
    ChipType(
        number=4,
        name="AstroPix 4",
        rows=13,
        columns=16,
        readout_classes={"gecco": AstroPix4Readout, "astep": AstroPix4LayerReadout},
        tot_bin_us=5.0,
        tot_bins=1320,
        pixel_tot_merged=2,
        pixel_tot_bins=128,
        spi_divider=40,
        values=(
            *_group(
                "digitalconfig",
                "interrupt_pushpull:1=0 clkmux:1=0 timerend:4=0 slowdownldpix:4=0 slowdownldcol:5=0 maxcyc:6=63 "
                "resetckdiv:4=15 nu1:32=0 tdacmux:1=0 Reset:1=0 PCH:1=0 enRamPCH:1=1 nu2:5=0 enLVDSterm:1=1 enPLL:1=1 "
                "enLVDS:1=0 nu3:5=0",
            ),
            *_group("biasconfig", "DisHiDR:1=0 q01:1=0 qon0:1=0 qon1:1=1 qon2:1=0 qon3:1=1"),
            *_group(
                "idacs",
                "blres:6=0 vpdac:6=0 vn1:6=20 vnfb:6=1 vnfoll:6=2 nu5:6=0 vndel:6=30 incp:6=10 ipvco:6=0 vn2:6=0 "
                "vnfoll2:6=1 vnbias:6=10 vpload:6=5 nu13:6=0 vncomp:6=2 vpfoll:6=10 nu16:6=0 vprec:6=10 vnrec:6=10",
            ),
            *_group("vdacs", "blpix:10=568 thpix:10=610 vcasc2:10=625 vtest:10=682 vinj:10=171"),
            *(ChipValue("recconfig", f"col{column}", COLUMN_BITS, _ALL_OFF) for column in range(16)),
        ),
        tdac_rows=tuple(
            ChipValue(
                "tdac_config",
                f"row{row}",
                16 * TDAC_BITS,
                sum(_TDAC_USUAL << TDAC_BITS * column for column in range(16)),
            )
            for row in range(13)
        ),
        card_dacs_v=(0.0, 0.0, 1.1, 1.0, 0.0, 0.0, 0.8, 1.2),
    )
)

ASTROPIX3: Final = register(
    ChipType(
        number=3,
        name="AstroPix 3",
        rows=35,
        columns=35,
        readout_classes={"gecco": AstroPix3Readout, "astep": AstroPix3LayerReadout},
        tot_bin_us=0.05,
        tot_bins=820,
        pixel_tot_merged=13,
        pixel_tot_bins=63,
        usual_tot_us=(10.0, 1.0),
        spi_divider=255,
        values=(
            *_group("digitalconfig", "interrupt_pushpull:1=1 en_inj:18=0 reset:1=0 extrabits:15=0"),
            *_group("biasconfig", "DisHiDR:1=0 q01:1=0 qon0:1=0 qon1:1=1 qon2:1=0 qon3:1=1"),
            *_group(
                "idacs",
                "blres:6=0 nu1:6=0 vn1:6=20 vnfb:6=3 vnfoll:6=1 nu5:6=0 nu6:6=0 nu7:6=0 nu8:6=0 vn2:6=0 vnfoll2:6=10 "
                "vnbias:6=10 vpload:6=5 nu13:6=60 vncomp:6=2 vpfoll:6=60 nu16:6=0 vprec:6=60 vnrec:6=30",
            ),
            *_group("vdacs", "blpix:10=568 thpix:10=682 vcasc2:10=625 nu1:10=512 thpmos:10=682 vinj:10=171"),
            *(ChipValue("recconfig", f"col{column}", COLUMN_BITS, _ALL_OFF) for column in range(35)),
        ),
        tdac_rows=(),
        card_dacs_v=(1.1, 0.0, 1.1, 1.0, 0.0, 0.0, 1.0, 1.1),
    )
)
