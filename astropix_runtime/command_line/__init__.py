"""Building blocks of command-line programs: output, terminals, options."""
