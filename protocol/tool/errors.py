"""What ends a subcommand early, as the person at the terminal gets to read it."""


class ToolError(Exception):
    """The command cannot be carried out: exit code 1, one line on stderr."""


class MisuseError(ToolError):
    """The command cannot be meant so: exit code 2, one line on stderr."""
