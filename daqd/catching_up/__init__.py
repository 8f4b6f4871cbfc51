"""The past, from the files of the runs: the process `daqd-history`."""
