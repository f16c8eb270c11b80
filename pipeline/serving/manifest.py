"""A sealed folder: JSON and safetensors under a manifest that holds the hash of each file.

A byte that changed, a file that is missing or was added, a pickle among them: each is refused before anything is read
into a model. The digest of the manifest stands for the whole folder: equal digests, equal contents.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import encode_json, read_bytes, whole_folder, write_bytes
from pipeline.base.errors import ArtifactError, TrustError, near_miss

MANIFEST = "bundle.json"
FORMAT = 1
KINDS = (".json", ".safetensors")


@dataclass(frozen=True)
class HashedFolder:
    """What a sealed folder holds.

    Attributes:
        about: what its manifest says of the whole, in JSON's types.
        files: name -> content.
    """

    about: Mapping[str, Any]
    files: Mapping[str, bytes]

    @cached_property
    def hashes(self) -> Mapping[str, str]:
        """Name -> sha256 of the content, in hexadecimal digits; each file is hashed once, as that takes time."""
        return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(self.files.items())}

    @cached_property
    def manifest(self) -> bytes:
        """The content of the manifest; the same for the same folder."""
        return encode_json({"format": FORMAT, **self.about, "files": self.hashes})

    @cached_property
    def digest(self) -> str:
        """sha256 of the manifest, in hexadecimal digits."""
        return hashlib.sha256(self.manifest).hexdigest()

    def save(self, folder: Path) -> None:
        """Write the folder, whole or not at all.

        Raises:
            ArtifactError: it cannot be written.
        """
        with whole_folder(folder) as temporary:
            for name, content in {**self.files, MANIFEST: self.manifest}.items():
                write_bytes(temporary / name, content)


def load(folder: Path, digest: str = "") -> HashedFolder:
    """Read a sealed folder; what is returned are the very bytes that were checked.

    Args:
        folder: where it lies.
        digest: that its manifest must have, which is compared before anything is parsed; "": any.

    Raises:
        TrustError: it is another folder than the one with this digest.
        ArtifactError: there is no such folder, or it is not what its manifest says.
    """
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(f"{folder / MANIFEST}: is absent; a bundle is a folder that holds one")
    content = read_bytes(folder / MANIFEST)
    if digest and (found := hashlib.sha256(content).hexdigest()) != digest:
        raise TrustError(
            f"{folder / MANIFEST}: has the digest {found}, and {digest} was registered; it is another model"
        )
    manifest = _manifest(folder / MANIFEST, content)
    hashes = manifest.pop("files")
    _check_names(folder, hashes)
    files = {name: read_bytes(folder / name) for name in hashes}
    sealed = HashedFolder({key: value for key, value in manifest.items() if key != "format"}, files)
    for name in files:
        if sealed.hashes[name] != hashes[name]:
            raise ArtifactError(f"{folder / name}: was changed; its bytes are not those that {MANIFEST} names")
    if sealed.manifest != content:
        raise ArtifactError(f"{folder / MANIFEST}: was changed; its text is not as it was written")
    return sealed


def holds(folder: Path, sealed: HashedFolder) -> bool:
    """Whether a folder is there, is sound, and holds the same."""
    try:
        return load(folder) == sealed
    except ArtifactError:
        return False


def _manifest(path: Path, content: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error})") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ArtifactError(f"{path}: is no manifest of a bundle; it names no files")
    if manifest.get("format") != FORMAT:
        given = manifest.get("format")
        raise ArtifactError(f"{path}: format {given!r} is not known; this version reads format {FORMAT}")
    return manifest


def _check_names(folder: Path, hashes: Mapping[str, object]) -> None:
    """Refuse what is no plain file of a safe kind, and any difference between the folder and its manifest."""
    present = {entry.name: entry for entry in folder.iterdir() if entry.name != MANIFEST}
    for name in {*present, *hashes}:
        unsafe = name not in present or not present[name].is_file() or present[name].is_symlink()
        if Path(name).suffix not in KINDS or Path(name).name != name or (name in present and unsafe):
            raise ArtifactError(f"{folder / name}: does not belong into a bundle; allowed are {', '.join(KINDS)} files")
    for name in sorted({*hashes} - {*present}):
        raise ArtifactError(f"{folder / name}: is absent, though {MANIFEST} names it{near_miss(name, present)}")
    for name in sorted({*present} - {*hashes}):
        raise ArtifactError(f"{folder / name}: is in the folder, but {MANIFEST} does not name it")
