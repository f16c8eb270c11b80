"""What the stages write for people."""
