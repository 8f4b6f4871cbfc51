"""From what the checks find to who is called: levels, latches, silence, where alarms go."""
