"""The bytes of a text as UTF-8, whatever it is encoded in; and what a file is that is no text at all."""

import codecs
from collections.abc import Iterator
from itertools import chain

import numpy as np

UTF8 = "UTF-8"
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_LOOKED_AT = 4_096  # bytes that show an encoding
_LONGEST_CHARACTER = 4  # bytes of one, which the end of what is looked at may cut

# First bytes -> what such a file is, and what to do.
_OTHERS: dict[bytes, str] = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; save it as CSV, or let its name end in .zip",
    b"\xd0\xcf\x11\xe0": "an Excel workbook of old; save it as CSV",
    b"\x1f\x8b": "packed by gzip; let its name end in .gz",
    b"BZh": "packed by bzip2; let its name end in .bz2",
    b"\xfd7zXZ\x00": "packed by xz; let its name end in .xz",
    b"\x28\xb5\x2f\xfd": "packed by zstd; let its name end in .zst",
    b"PAR1": "a Parquet file; let its name end in .parquet",
    b"ARROW1": "an Arrow file; let its name end in .arrow",
    b"FEA1": "a Feather file of version 1; write it again as version 2",
    b"\x93NUMPY": "a NumPy array; save X and y by np.savez",
    b"\x89HDF": "an HDF5 file; save it as CSV or Parquet",
    b"SQLite format 3": "an SQLite database; save the table as CSV",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
    b"%PDF": "a PDF document; a table of records is expected",
    b"\xd4\xc3\xb2\xa1": "a capture of packets; it needs a reader of captures",
    b"\xa1\xb2\xc3\xd4": "a capture of packets; it needs a reader of captures",
    b"\x0a\x0d\x0d\x0a": "a capture of packets; it needs a reader of captures",
}
_OTHER_TEXTS: dict[bytes, str] = {
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself by git lfs pull",
    b"<!doctype": "a web page; the download failed, fetch the file again",
    b"<html": "a web page; the download failed, fetch the file again",
    b"<?xml": "an XML document; save it as CSV",
}


def other_kind(first: bytes) -> str:
    """What a file is by its first bytes, and what to do; "" where it may be a table."""
    begin = first[:_LOOKED_AT]
    is_text = b"\0" not in begin and decoded(begin[:-_LONGEST_CHARACTER])[1]
    if is_text:
        words = begin.removeprefix(codecs.BOM_UTF8).lstrip().lower()
        return next((said for mark, said in _OTHER_TEXTS.items() if words.startswith(mark)), "")
    return next((said for mark, said in _OTHERS.items() if begin.startswith(mark)), "")


def encoding_of(first: bytes) -> str:
    """The encoding of a text by its first bytes, as Python names it.

    Without a byte-order mark, UTF-16 is known by its zeros. Bytes that are no UTF-8 are cp1252 (Windows, Western).
    """
    for mark, name in _BOMS.items():
        if first.startswith(mark):
            return name
    begin = np.frombuffer(first[: len(first[:_LOOKED_AT]) // 2 * 2], np.uint8).reshape(-1, 2)
    zeros = (begin == 0).mean(axis=0) if len(begin) > 1 else np.zeros(2)
    if zeros.max() > 0.7 and zeros.min() < 0.3:
        return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    return "utf-8" if decoded(first[:_LOOKED_AT].rpartition(b"\n")[0] or first)[1] else "cp1252"


def utf8(stream: Iterator[bytes]) -> Iterator[bytes]:
    """The same text in UTF-8, with lines that end in a line feed.

    UTF-8 and cp1252 pass unchanged: ``text`` and ``clean`` read both, line by line.

    Raises:
        UnicodeError: it is damaged UTF-16 or UTF-32.
    """
    first = next(stream, b"")
    encoding = encoding_of(first)
    blocks: Iterator[bytes] = chain([first], stream)
    if encoding.startswith(("utf-16", "utf-32")):
        decoder = codecs.getincrementaldecoder(encoding)()
        blocks = chain((decoder.decode(block).encode() for block in blocks), _last(decoder))
    if b"\r" in first and b"\n" not in first:
        blocks = map(_returned, blocks)
    return blocks


def _returned(block: bytes) -> bytes:
    if b"\n" in block:
        raise UnicodeError("its first lines end in carriage returns, and later ones in line feeds")
    return block.replace(b"\r", b"\n")


def _last(decoder: codecs.IncrementalDecoder) -> Iterator[bytes]:
    yield decoder.decode(b"", final=True).encode()


def decoded(line: bytes) -> tuple[str, bool]:
    """The text of a line, and whether it is UTF-8; what is not is read as cp1252."""
    try:
        return line.decode("utf-8"), True
    except UnicodeDecodeError:
        return line.decode("cp1252", "replace"), False


def text(line: bytes) -> str:
    """The text of a line in UTF-8 or cp1252."""
    return decoded(line)[0]


def clean(lines: bytes) -> bytes:
    """The same lines in UTF-8. Each one may be in UTF-8 or in cp1252: published files mix them."""
    if lines.isascii() or decoded(lines)[1]:
        return lines
    return b"\n".join(text(line).encode() for line in lines.split(b"\n"))
