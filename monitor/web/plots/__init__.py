"""The plots of the page. A new one: a function that draws it, and a line here."""

from typing import Final

from monitor.web.plot_context import Plot
from monitor.web.plots.histograms import chip_spectrum, detector_spectrum, hits_per_readout, pixel_spectrum
from monitor.web.plots.hit_maps import hit_map, hit_maps
from monitor.web.plots.rates import hit_rate, readout_rate

PLOTS: Final = (
    Plot("chips", "All chips", hit_maps, size="wide"),
    Plot("map", "Hit map", hit_map, size="large", about="chip"),
    Plot("tot", "ToT, whole detector", detector_spectrum),
    Plot("tot-chip", "ToT", chip_spectrum, about="chip"),
    Plot("tot-pixel", "ToT", pixel_spectrum, about="pixel"),
    Plot("hits-per-readout", "Hits per readout", hits_per_readout),
    Plot("hit-rate", "Hit rate", hit_rate),
    Plot("readout-rate", "Readout rate", readout_rate),
)
