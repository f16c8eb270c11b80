"""The arrays of a fitted model as they are stored, checked while a form is made of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOATS = (np.float32, np.float64)


class Stored:
    """Arrays by name. Each is taken once, and whoever takes it says what shape it must have.

    Args:
        arrays: of the whole model; what is taken is removed from it.
        prefix: that the names of a part of the model begin with.
    """

    def __init__(self, arrays: dict[str, NDArray[Any]], prefix: str = "") -> None:
        self._left, self._prefix = arrays, prefix

    def part(self, name: str) -> "Stored":
        """The arrays of a part of the model."""
        return Stored(self._left, f"{self._prefix}{name}.")

    def __contains__(self, name: str) -> bool:
        """Whether there is such an array, which nobody has taken."""
        return self._prefix + name in self._left

    def floats(self, name: str, *shape: int | None) -> NDArray[Any]:
        """Take an array of floats, of this shape; None stands for any number.

        Raises:
            ValueError: it is absent or of another kind or shape.
        """
        found = self._taken(name, shape)
        if found.dtype not in FLOATS:
            raise ValueError(f"the array {self._prefix + name!r} must hold floats, not {found.dtype}")
        return found

    def whole(self, name: str, *shape: int | None) -> NDArray[np.int64]:
        """Take an array of whole numbers, likewise.

        Raises:
            ValueError: it is absent or of another kind or shape.
        """
        found = self._taken(name, shape)
        if found.dtype != np.int64:
            raise ValueError(f"the array {self._prefix + name!r} must hold whole numbers, not {found.dtype}")
        return found

    def _taken(self, name: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
        try:
            found = self._left.pop(self._prefix + name)
        except KeyError:
            raise ValueError(f"the array {self._prefix + name!r} is absent") from None
        if found.shape == (1,) and not shape:
            found = found.reshape(())  # a single number is stored as one of a row
        if found.ndim != len(shape) or any(
            want not in (None, have) for want, have in zip(shape, found.shape, strict=True)
        ):
            wanted = ", ".join("any" if each is None else str(each) for each in shape)
            raise ValueError(f"the array {self._prefix + name!r} has the shape {found.shape}, wanted ({wanted})")
        return found

    def refuse_others(self) -> None:
        """Refuse arrays that nobody has taken.

        Raises:
            ValueError: with their names.
        """
        if self._left:
            raise ValueError(f"arrays of no use to it: {', '.join(sorted(self._left))}")
