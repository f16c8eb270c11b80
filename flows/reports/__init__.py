"""What the programs write for people."""
