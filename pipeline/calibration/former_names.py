"""The state of a calibration that an older version wrote, in the names of today.

Scores were called ``evidence``, those that the fusion takes ``counted``, and the score of the second stage ``density``,
whatever the detector.
"""

from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

FORMER: Final = "density"
DETECTOR: Final = "detector"
_KEYS: Final = {"evidence": "scores", "counted": "used"}


def in_current_names(
    values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What ``Calibration.state`` gives today, of what it gave then; a state of today stays as it is."""
    found = {_KEYS.get(key, key): value for key, value in values.items()}
    found |= {key: [_current(name) for name in found[key]] for key in _KEYS.values() if key in found}
    if "fusion" in found:
        found["fusion"] = _current(found["fusion"])
    scores = f"{FORMER}."
    renamed = {
        f"{DETECTOR}.{key.removeprefix(scores)}" if key.startswith(scores) else key: arrays[key] for key in arrays
    }
    return found, renamed


def _current(name: str) -> str:
    return DETECTOR if name == FORMER else name
