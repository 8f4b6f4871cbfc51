"""The detector as the hits show it: maps, spectra, rates, in arrays of fixed size."""
