"""What the programs stand on: the dvc command, processes, servers, GPUs, recovery."""
