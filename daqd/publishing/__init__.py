"""From the files of a run to the stream: the process `daqd-publish`, and replay."""
