"""No encoder, and the margin of the published loss."""

from dataclasses import dataclass
from typing import Self

from pipeline.models.arrays.base import squares
from pipeline.models.arrays.parts import Rows, in_parts
from pipeline.models.arrays.stored import Stored


@dataclass(frozen=True)
class IdentityForm:
    """z = x, and how much nearer z is to the attacks than to the benign records.

    Attributes:
        benign, attack: (Z,) the means of both.
    """

    benign: Rows
    attack: Rows

    @classmethod
    def of(cls, arrays: Stored, features: int) -> Self:
        """That of a fitted ``Identity`` with the loss ``DCCL``."""
        return cls(arrays.floats("centroid_benign", features), arrays.floats("centroid_attack", features))

    def __call__(self, x: Rows) -> Rows:
        """Map (n, F) to itself."""
        return x

    @property
    def latent(self) -> int:
        """Z."""
        return len(self.benign)

    @property
    def changes_nothing(self) -> bool:
        """True: the latent is the features."""
        return True

    def margin(self, z: Rows) -> Rows:
        """||z - c_b||^2 - ||z - c_a||^2, (n,) of (n, Z): positive nearer to the attack centroid, as in ``DCCL``."""
        return in_parts(lambda part: squares(part - self.benign) - squares(part - self.attack), z)
