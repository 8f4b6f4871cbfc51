"""Run quality out of recorded files: the same checks, and reports."""
