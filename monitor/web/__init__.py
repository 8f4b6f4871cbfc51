"""The detector in a browser: what `apx-monitor serve` serves."""
