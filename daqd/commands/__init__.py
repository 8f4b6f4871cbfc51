"""The commands of `daqd` and `daqctl` that are not the daemon itself."""
