"""Which packets belong to one conversation: those with the same key."""

import os

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.packets.bricks import Ints


def grouped(key: NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """An order that puts the packets of each conversation together, and the conversation of each in that order.

    The words of a key are hashed by secret random factors, so that no sender can make two conversations collide; if two
    collide by chance, other factors are drawn.

    Args:
        key: (p, 5).

    Returns:
        (p,) indices that keep the order within a conversation, and (p,) numbers from 0 on, ascending.
    """
    while True:
        code = _hashed(key)
        order = np.argsort(code, kind="stable")
        code, words = code[order], key[order]
        other = np.diff(code, prepend=code[:1]) != 0
        differ = (words[1:] != words[:-1]).any(axis=1)
        if (differ == other[1:]).all():
            return order, np.cumsum(other)


def _hashed(key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(p,) the words multiplied by odd random factors, mixed after each."""
    factors = np.frombuffer(os.urandom(8 * key.shape[1]), np.uint64) | np.uint64(1)
    code = np.zeros(len(key), np.uint64)
    for word, factor in zip(key.T, factors, strict=True):
        code = (code ^ word) * factor
        code ^= code >> np.uint64(32)
    return code
