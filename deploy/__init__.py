"""The production shape: ``compose.yaml``, what it needs, and a program that runs it without a container engine."""
