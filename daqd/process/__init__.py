"""The daemon as a process: its log, its locks, signals, the service manager."""
