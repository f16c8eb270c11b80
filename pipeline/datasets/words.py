"""One spelling for each word of a categorical column, whatever tool wrote it and whatever type its file gives it."""

import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datasets.nulls import NO_WORD

_NUMBER = re.compile(r"[-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][-+]?\d{1,3})?")
_LONGEST = 25  # digits before or behind the point of a number that is spelt without an exponent
TRUTH: Mapping[str, bool] = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0"), False),
}


def word(text: str) -> str:
    """The spelling of a word: ``6.0`` and ``6.00`` are ``6``, ``1e3`` is ``1000``, ``TRUE`` is ``true``.

    What stands for a missing value is "". Digits alone, such as ``007``, and all other words are as they are.
    """
    bare = text.strip()
    low = bare.lower()
    if low in NO_WORD:
        return ""
    if low in {"true", "false"}:
        return low
    is_number = _NUMBER.fullmatch(bare) and (bare == "-0" or not bare.lstrip("+-").isdigit())
    return _number(Decimal(bare.replace(",", "."))) if is_number else bare


def _number(value: Decimal) -> str:
    bare = abs(value).normalize() if not value else value.normalize()
    return f"{bare:f}" if abs(bare.adjusted()) <= _LONGEST else f"{bare:E}".lower()


class Vocabulary:
    """Finds the place of a word among those that a model learnt from, however either is spelt.

    A word is found as it is, else by its spelling, else by its truth: in a column of ``true`` and ``false``, 1 is true.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.places = {text: place for place, text in enumerate(words)}
        self.spelt = {word(text): place for place, text in reversed([*enumerate(words)])}
        self.truths: dict[bool | None, int] = {}
        if _is_boolean(self.spelt):
            self.truths = {_truth(text): place for text, place in self.spelt.items()}

    def place(self, text: str) -> int | None:
        """The place of a word; None for one that is not among them."""
        if text in self.places:
            return self.places[text]
        bare = word(text)
        return self.spelt[bare] if bare in self.spelt else self.truths.get(_truth(bare))


def _truth(text: str) -> bool | None:
    return TRUTH.get(text.lower())


def _is_boolean(words: Collection[str]) -> bool:
    """Whether words are those of a column that is true or false, each of them spelt in one way."""
    values = [*map(_truth, words)]
    return bool(values) and None not in values and len(set(values)) == len(values)


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of text, or of a dictionary of texts."""
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(values) or pa.types.is_large_string(values) or pa.types.is_string_view(values))


def of_values(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Values of any type as text; a missing one, NaN too, is null."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column.cast(pa.string())


def encoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values of a column of any type as a dictionary of words; a missing one is null."""
    texts = of_values(column)
    return texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()


def respelt(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A dictionary column with each word in its one spelling, and "" for one that is missing."""
    if column.num_chunks == 0:
        return column
    encoded = column.unify_dictionaries().combine_chunks()
    texts = encoded.dictionary.to_pylist()
    words = [word(text or "") for text in texts]
    if words == texts and not encoded.null_count:
        return column
    places = {text: place for place, text in enumerate(dict.fromkeys([*words, ""]))}
    codes = np.array([places[text] for text in [*words, ""]], dtype=np.int32)
    indices = encoded.indices.fill_null(len(texts)).to_numpy()
    return pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array(codes[indices]), pa.array([*places]))])


def nulled(column: pa.ChunkedArray, nulls: Collection[str]) -> pa.ChunkedArray:
    """A dictionary column in which the words that mean a missing value are null."""
    encoded = column.unify_dictionaries().combine_chunks()
    texts = encoded.dictionary.to_pylist()
    if not {*nulls} & {*texts}:
        return column
    missing = pc.is_in(encoded.dictionary, pa.array([*nulls], encoded.dictionary.type))
    bare = pc.if_else(missing, pa.scalar(None, encoded.dictionary.type), encoded.dictionary)
    return pa.chunked_array([bare.take(encoded.indices).dictionary_encode()])
