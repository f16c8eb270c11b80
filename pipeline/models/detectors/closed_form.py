"""A detector that is fitted with PyTorch's tensors and scores with NumPy's arrays."""

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.models.arrays.base import Form
from pipeline.models.arrays.parts import Rows
from pipeline.models.arrays.stored import Stored
from pipeline.models.detectors.base import Detector
from pipeline.models.scoring import array

Known = list[tuple[Tensor, int]]


class ClosedForm(Detector):
    """A detector without training steps.

    It keeps what it was fitted on, and its ``form`` computes. A registered model is made of the same form, without
    PyTorch. So the stages and a registered model give the same bits.

    A subclass implements ``fit`` and ``_formed``.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self._known: tuple[Known, Form] | None = None  # the buffers that the form was made of come first

    @abstractmethod
    def _formed(self, arrays: Stored) -> Form:
        """The form of these arrays: its buffers, but for those of detectors inside it, which have forms themselves."""

    @property
    def form(self) -> Form:
        """What it computes, as fitted."""
        buffers = self.state_dict(keep_vars=True)
        now = [(each, _changes(each)) for each in buffers.values()]
        if self._known is None or not _same(self._known[0], now):
            inside = tuple(f"{name}." for name, each in self.named_modules() if name and isinstance(each, ClosedForm))
            own = {name: each for name, each in buffers.items() if not name.startswith(inside)}
            self._known = now, self._formed(Stored({name: each.detach().cpu().numpy() for name, each in own.items()}))
        return self._known[1]

    def scores(self, x: Tensor) -> Tensor:
        """(n,) of (n, F): the form computes in its own parts."""
        return self._asked(self.form.scores, x)

    def score(self, x: Tensor) -> Tensor:
        """The same, (B, F) to (B,)."""
        return self._asked(self.form.scores, x)

    def raw(self, x: Tensor) -> Tensor:
        """(n, M) scores of the parts."""
        return self._asked(self.form.raw, x)

    def of_raw(self, raw: Tensor) -> Tensor:
        """(n,) scores of rows whose parts have the scores ``raw``, (n, M)."""
        return self._asked(self.form.of_raw, raw)

    def terms(self, x: Tensor) -> Tensor | None:
        """(B, F) what each entry of x, (B, F), adds to the score; None if the score is no sum over entries."""
        return self._asked_perhaps(self.form.terms, x)

    def nearest(self, x: Tensor) -> Tensor | None:
        """(B, k) positions of the fitted rows that are nearest to x, (B, F); None for a form that keeps no rows."""
        return self._asked_perhaps(self.form.nearest, x)

    @property
    def replaces_quickly(self) -> bool:
        """As the form does."""
        return self.form.replaces_quickly

    def replaced(self, x: Tensor, reference: Tensor) -> Tensor:
        """(B, F) scores if one entry alone is replaced."""
        return self._asked(self.form.replaced, x, reference)

    def _asked(self, question: Callable[..., Rows], *given: Tensor) -> Tensor:
        return torch.from_numpy(question(*map(array, given))).to(given[0].device)

    def _asked_perhaps(self, question: Callable[..., Rows | None], x: Tensor) -> Tensor | None:
        found = question(array(x))
        return None if found is None else torch.from_numpy(found).to(x.device)


def _changes(buffer: Tensor) -> int:
    """How often it was changed in place."""
    return -1 if buffer.is_inference() else buffer._version


def _same(known: Known, now: Known) -> bool:
    """Whether the buffers are the same ones, unchanged."""
    pairs = zip(known, now, strict=False)
    return len(known) == len(now) and all(one[0] is other[0] and one[1] == other[1] for one, other in pairs)
