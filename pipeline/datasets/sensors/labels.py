"""Reads the label of a sensor's record, where somebody has added one."""

from collections.abc import Collection

from pipeline.datasets.labels import UNLABELLED, Label, family, plain, says_nothing, snake

NO_NAME = frozenset({"1", "true", "malicious"})  # an attack, but not which one


class Labels:
    """Reads labels; call it with a text.

    Args:
        benign: the words that mean benign. Any other word names an attack; 1 stands for ``attack``.
        nothing: words that say that nothing is known of a record, beside the usual ones.
    """

    def __init__(self, benign: Collection[str | int], nothing: Collection[str] = ()) -> None:
        self.benign = frozenset(plain(str(word)) for word in benign)
        self.nothing = nothing

    def __call__(self, text: str) -> Label:
        """The label that a text spells."""
        word = plain(text)
        if word in self.benign:
            return Label("benign", "benign", False)
        if says_nothing(text, self.nothing):
            return UNLABELLED
        name = "attack" if word in NO_NAME else snake(text)
        attack = f"attack_{name}" if name[0].isdigit() else name
        return Label(attack, family(attack), False)
