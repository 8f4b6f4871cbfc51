"""From the board to the disk: what takes a run, and what may never wait for anybody else."""
