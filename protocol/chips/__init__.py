"""What the chips are, and what they are set to: versions, configurations, their YAML files, their bits."""

from protocol.chips import astropix_chips as astropix_chips  # registers these chips
