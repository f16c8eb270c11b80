"""The model that judges now: asked for in the background, and changed only where a micro-batch ends."""

import threading
from collections.abc import Callable

from pipeline.base.errors import ArtifactError, SilentModelError, TrustError
from pipeline.serving import champion, loading, own_model, silence
from pipeline.serving.bundle import Bundle
from pipeline.serving.version import Version
from pipeline.serving.watching import stretch
from pipeline.serving.watching.stretch import Model
from pipeline.settings.alerts import Alerts
from pipeline.settings.scoring import ContractRules
from pipeline.tracking import direct


class ServingModel:
    """What an alias stands for, now and after each promotion or rollback.

    A thread asks the registry every few seconds, and loads a version that is new. ``current`` is the model that was
    loaded last, so nobody waits who asks for it between two micro-batches. If the registry does not answer, or a model
    cannot be loaded, the present model goes on.

    Args:
        alias: of the version.
        rules: of the contract.
        alerts: which records become alerts.
        tell: gets, in words, what cannot be done; ``refused`` or ``silent`` says what was found of a model.

    Attributes:
        refused: how many models were refused because no trusted key vouches for them, or because they are silent.
    """

    def __init__(self, alias: str, rules: ContractRules, alerts: Alerts, tell: Callable[..., None]) -> None:
        self.alias, self.rules, self.alerts, self.tell = alias, rules, alerts, tell
        self.is_away, self.refused, self._said = False, 0, ""
        self.current = self._of(*loading.load(alias))

    def follow(self, seconds: float, stopped: threading.Event) -> None:
        """Go on asking in the background until ``stopped``."""

        def ask() -> None:
            while not stopped.wait(seconds):
                self.refresh()

        threading.Thread(target=ask, name="registry", daemon=True).start()

    def refresh(self) -> None:
        """Ask once, and load what is new."""
        try:
            self.is_away = direct.ask(own_model.name(), self.alias) == "away"
            if self.is_away:
                return
            version = loading.find(self.alias)
            here = self.current.number, self.current.bundle.digest
            if version is not None and (version.number, version.digest) != here:
                self.current = self._of(version, loading.bundle_of(version))
            self._said = ""
        except Exception as error:  # MLflow's own errors, too: the model at hand goes on
            if str(error) != self._said:
                self.refused += isinstance(error, TrustError)
                found = {"refused": finding(error)} if isinstance(error, TrustError) else {}
                self.tell(f"{error}; version {self.current.number} goes on", **found)
            self._said = str(error)

    def by_digest(self, number: int, digest: str) -> Model:
        """The model of a version that began a stretch, by the first digits of its digest.

        Raises:
            ArtifactError: neither the disk nor the registry has it.
        """
        if self.current.bundle.digest.startswith(digest):
            return Model(number, self.current.bundle, self.rules, self.alerts)
        folder = champion.folder_of(number, digest)
        bundle = Bundle.load(folder) if folder.is_dir() else self._fetched(number)
        if bundle is None or not bundle.digest.startswith(digest):
            remedy = f"bring it back, or remove what it began below {stretch.room()}, whose records are then not judged"
            raise ArtifactError(f"{folder}: is absent, and version {number} began to judge records; {remedy}")
        return Model(number, bundle, self.rules, self.alerts)

    def _fetched(self, number: int) -> Bundle | None:
        version = loading.find(str(number))
        return None if version is None else loading.bundle_of(version)

    def _of(self, version: Version, bundle: Bundle) -> Model:
        """The model as it judges.

        Raises:
            SilentModelError: it is silent, and refused for that.
        """
        if said := silence.require(bundle, version.number, self.alerts):
            self.tell(said, silent=True)
        return Model(version.number, bundle, self.rules, self.alerts)


def finding(error: TrustError) -> str:
    """Why a model was refused, in a word."""
    return "silent" if isinstance(error, SilentModelError) else "untrusted"
