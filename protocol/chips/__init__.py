"""What the chips are, and what they are set to: versions, configurations, their YAML files, their bits."""
