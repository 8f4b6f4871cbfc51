"""What goes between programs: messages of the stream, catch-up, alarms, addresses, keys (docs/wire.md)."""
