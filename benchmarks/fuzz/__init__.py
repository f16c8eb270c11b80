"""Odd input of every kind; see ``__main__``."""
