"""A model of the board at byte level, for work and tests without one."""
