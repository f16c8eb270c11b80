"""Counts as people read them: ``1 record``, ``1,234 records``."""


def counted(n: int, one: str, many: str = "") -> str:
    """A count with its word.

    Args:
        n: how many.
        one: the word for one, such as ``record``, or ``record has``.
        many: the word for any other number; "": ``one`` with an s.
    """
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"
