"""Recordings on disk: what is whole in them, repair, verdicts, and changes that last (docs/formats.md, "Damage")."""
