"""The bill of materials: which libraries a version is loaded with, or the project runs on, as CycloneDX.

::

    python -m pipeline.serving.sbom [--installed] [FILE]      without FILE on standard output

It is the bill of the project as it is installed here; with ``--installed`` that of all in this environment.

Each library has its version, its licence, what it needs, and the sha256 of the list of its installed files.

Source: "CycloneDX Specification", version 1.6 (ECMA-424).
"""

import sys
import sysconfig
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_URL, uuid5

from packaging.utils import canonicalize_name

from pipeline.artifacts.files import write_bytes
from pipeline.base.extras import EXTRAS, PROJECT
from pipeline.serving.libraries import Library, closure

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

FILE: Final = "sbom.cdx.json"
INSTALLED: Final = "--installed"
LISTED: Final = "flowsculpt:sha256-of"
RECORD: Final = "the lines of RECORD that are the same in each installation, sorted"


def of_model(name: str, digest: str, asked: Iterable[str]) -> bytes:
    """The bill of a version of a model.

    Args:
        name: of the model.
        digest: of its bundle.
        asked: the names of the libraries that it is loaded with.
    """
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    whole = Component(
        name=name,
        version=digest[:12],
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"model:{digest}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )
    return _written(whole, asked, digest)


def of_project(whole_environment: bool = False) -> bytes:
    """The bill of the project and of all that it runs on, as it is installed here.

    Args:
        whole_environment: name all that is installed in this environment, whoever needs it.
    """
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import LicenseExpression

    own = closure([f"{PROJECT}[{','.join(EXTRAS)}]"])[PROJECT]
    whole = Component(
        name=PROJECT,
        version=own.version,
        type=ComponentType.APPLICATION,
        bom_ref=PROJECT,
        licenses=[LicenseExpression(own.licence)],
    )
    return _written(whole, _installed() if whole_environment else own.needs, own.version)


def _installed() -> Iterable[str]:
    """The names of what lies where this environment installs, but for the project itself."""
    here = sysconfig.get_path("purelib")
    return {canonicalize_name(each.name) for each in metadata.distributions(path=[here])} - {PROJECT}


def _written(whole: "Component", asked: Iterable[str], key: str) -> bytes:
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.output.json import JsonV1Dot6

    roots = set(asked)
    libraries = closure(roots)
    made = {name: _component(each) for name, each in libraries.items()}
    bill = Bom(components=made.values(), serial_number=uuid5(NAMESPACE_URL, f"{PROJECT}:{whole.name}:{key}"))
    bill.metadata.component = whole
    bill.metadata.properties.add(Property(name=LISTED, value=RECORD))
    bill.register_dependency(whole, [made[name] for name in sorted(roots) if name in made])
    for name, each in libraries.items():
        bill.register_dependency(made[name], [made[need] for need in each.needs])
    return f"{JsonV1Dot6(bill).output_as_string(indent=2)}\n".encode()


def _component(library: Library) -> "Component":
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import LicenseExpression
    from packageurl import PackageURL

    listed = library.sha256
    place = PackageURL("pypi", None, library.name, library.version)
    return Component(
        name=library.name,
        version=library.version,
        type=ComponentType.LIBRARY,
        purl=place,
        bom_ref=str(place),
        licenses=[LicenseExpression(library.licence)] if library.licence else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=listed)] if listed else [],
    )


def main(given: Sequence[str] | None = None) -> int:
    """Write the bill of the project; returns the exit code."""
    options = [*(sys.argv[1:] if given is None else given)]
    files = [each for each in options if each != INSTALLED]
    bill = of_project(INSTALLED in options)
    if files:
        write_bytes(Path(files[0]), bill)
        print(f"{files[0]}: {PROJECT} and {bill.count(b'pkg:pypi/')} mentions of libraries")
    else:
        print(bill.decode(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
