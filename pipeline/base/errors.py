"""The errors that a user can cause, on one screen.

::

    FlowsculptError
    ├── ConfigError              params.yaml: an unknown key, a wrong type, a value outside its limits
    │   └── UnknownPluginError   a name that its registry does not hold
    ├── DataError                records that cannot be read or used
    │   ├── SourceError          a file, folder or archive that cannot be read
    │   ├── SchemaError          columns that are missing, extra or renamed
    │   ├── RejectedError        more unreadable rows than the settings allow
    │   ├── ExpectationError     a hard expectation of validate is breached
    │   └── SplitError           a split that would be empty or useless
    ├── TrainingError            a model that cannot be trained on what it was given
    │   └── CollapseError        a training that ended where it learnt nothing
    ├── ArtifactError            a file of an earlier stage that is absent or not what its name says
    │   └── TrustError           a model, a decision or a key that no trusted key vouches for
    │       └── SilentModelError a model that no longer finds what it found, or has raised no alarm for too long
    ├── MachineError             a full or broken disk, a folder that is gone, too few files or too little memory
    ├── ConflictError            what another one has changed meanwhile
    ├── EngineError              a cluster that does not answer, or has other versions
    └── ScoringError             files that could not be scored, each with its reason

Each message says where, what is allowed, what was given and, where there is one, the near miss.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar

from pipeline.base.escaping import lines, printable
from pipeline.base.secrets import hidden


class FlowsculptError(Exception):
    """Anything that this package refuses, with a message for the person who can mend it.

    A message may quote what came in. It is one line, characters that are not printable are escapes in it, and secrets
    are cut out.

    Attributes:
        has_lines: whether its messages have several lines, as they are put together from lines that are safe.
    """

    has_lines: ClassVar[bool] = False

    def __str__(self) -> str:
        """The message, which can be shown anywhere."""
        message = hidden(super().__str__())
        return lines(message) if self.has_lines else printable(message)


class ConfigError(FlowsculptError):
    """A setting that is unknown, of the wrong type or outside its limits."""


class UnknownPluginError(ConfigError):
    """A plug-in name that its registry does not hold."""


class DataError(FlowsculptError):
    """Records that cannot be read or used."""


class SourceError(DataError):
    """A raw file, folder or archive that cannot be read."""


class SchemaError(DataError):
    """Columns that are missing, extra or renamed."""


class RejectedError(DataError):
    """More unreadable rows than the settings allow."""


class ExpectationError(DataError):
    """A hard expectation of the validate stage is breached."""


class ContractWarning(UserWarning):
    """Records are unlike those that a model was fitted on, or it is not known whether they are."""


class SplitError(DataError):
    """A split that would be empty, or useless for its one purpose."""


class TrainingError(FlowsculptError):
    """A model that cannot be trained on these data or settings."""


class CollapseError(TrainingError):
    """A training that ended in a model that ranks nothing."""


class ArtifactError(FlowsculptError):
    """A file of an earlier stage is missing, or is not what its name says."""


class TrustError(ArtifactError):
    """A model or a decision without a signature that this project trusts, or a key that others can read."""


class SilentModelError(TrustError):
    """A model no longer finds what it found when it was made, or has raised no alarm for longer than chance allows."""


class MachineError(FlowsculptError):
    """The machine refuses something that is not the program's fault: a disk is full or broken, memory is short."""


class ConflictError(FlowsculptError):
    """Another process has changed the same thing meanwhile."""


class EngineError(FlowsculptError):
    """The workers of a cluster do not answer, or do not have the versions that this process has."""


class ScoringError(FlowsculptError):
    """Files that could not be scored; each has its reason."""

    has_lines = True


def near_miss(given: object, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the closest known name, or nothing if none is close."""
    close = difflib.get_close_matches(str(given), list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
