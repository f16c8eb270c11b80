"""How tools spell a missing value: one list for all readers, and one for columns of words."""

from typing import Final

# Of spreadsheets, databases, R, pandas and Java. They mean nothing else, in columns of words and of numbers.
WORDS: Final = (
    *("", "#DIV/0!", "#N/A", "#NUM!", "#VALUE!", "#REF!", "#NAME?", "#NULL!", "#N/A N/A", "#NA"),
    *("NULL", "Null", "null", "(null)", "<null>", "NA", "na", "<NA>", "N/A", "n/a"),
    *("NaN", "nan", "-nan", "-NaN", "NAN", "\\N", "?"),
)
# In a column of words these are words: a service that is none, a state that is a dash.
NUMBERS: Final = (
    *WORDS,
    *("None", "none", "nil", "NIL", "(empty)", "undefined", "missing", "-", "--", "."),
)
NO_WORD: Final = frozenset(text.lower() for text in WORDS)
NO_NUMBER: Final = frozenset(text.lower() for text in NUMBERS)
