"""What the programs run on: secured sockets, storage and repair, configuration files, command lines, logs, signals."""
