"""What a user says about files that do not say it themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pipeline.base.errors import ConfigError, near_miss

AUTO: Final = "auto"
UTC: Final = ZoneInfo("UTC")


@dataclass(frozen=True)
class Reading:
    """How to read what a file leaves open.

    Attributes:
        times: format of timestamps, as ``strptime`` takes it; ``auto``: it is found from the whole column.
        zone: that times without an offset are in; all times are stored in it, without an offset.
        nothing: words in the label column that mean "not labelled", beside the known ones.
    """

    times: str = AUTO
    zone: ZoneInfo = UTC
    nothing: tuple[str, ...] = ()

    @classmethod
    def of(cls, time_format: str, time_zone: str, unlabelled: Sequence[str]) -> Self:
        """What the settings of ingest say.

        Raises:
            ConfigError: the format names no part of a time, or the zone is not known.
        """
        if time_format != AUTO and "%" not in time_format:
            allowed = f"{AUTO}, or a format such as '%d/%m/%Y %H:%M:%S'"
            raise ConfigError(f"ingest.time_format is {time_format!r}, allowed is {allowed}")
        try:
            return cls(time_format, ZoneInfo(time_zone), tuple(unlabelled))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            miss = near_miss(time_zone, available_timezones())
            allowed = f"a name such as Europe/Berlin{miss}"
            raise ConfigError(f"ingest.time_zone is {time_zone!r}, allowed is {allowed}") from None

    def stated(self) -> dict[str, Any]:
        """What ``of`` makes the same from, ready for JSON."""
        return {"time_format": self.times, "time_zone": self.zone.key, "unlabelled": [*self.nothing]}
