"""The label of a sensor's record, where somebody has added one."""

from collections.abc import Iterable

from pipeline.datasets.labels import Label, family, snake

NOTHING = frozenset({"", "-", "nan", "none", "null", "unknown"})


class Labels:
    """Reads labels; call it with a text.

    Args:
        benign: the words that mean benign, in any case. Any other word names an attack; 1 stands for ``attack``.
    """

    def __init__(self, benign: Iterable[str | int]) -> None:
        self.benign = frozenset(str(word).strip().casefold() for word in benign)

    def __call__(self, text: str) -> Label:
        """The label that a text spells.

        Raises:
            ValueError: it says nothing, so that the record has no label.
        """
        word = text.strip().casefold()
        if word in self.benign:
            return Label("benign", "benign", False)
        name = "attack" if word in {"1", "true", "malicious"} else snake(word)
        if word in NOTHING or not name:
            raise ValueError(f"{text!r} is no label")
        attack = f"attack_{name}" if name[0].isdigit() else name
        return Label(attack, family(attack), False)
