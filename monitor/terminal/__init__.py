"""The detector in a terminal: what `apx-monitor watch` draws."""
