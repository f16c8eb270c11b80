"""The files of a bundle, gathered from what the last training left."""

from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import save as save_tensors

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_bytes, read_json
from pipeline.artifacts.tables import read_table
from pipeline.preprocessing.features import Features
from pipeline.serving import attacks, benign, bundle_parts, contract, manifest, recent_past
from pipeline.serving.bundle_parts import MODELS, USED
from pipeline.serving.manifest import HashedFolder

FITTED_ON: Final = ("train", "val", "calibration")


def of_project(data: Path) -> HashedFolder:
    """All files of the bundle but its canaries, which the model itself chooses; ``data`` is the folder of a project.

    Raises:
        ArtifactError: a stage has not run, or its outputs do not fit those of another one.
    """

    def here(path: Path) -> Path:
        return data / path.relative_to(paths.DATA)

    files = {
        f"{name}{kind}": read_bytes(here(path).with_suffix(kind))
        for name, path in MODELS.items()
        for kind in manifest.KINDS
    }
    ids = [
        read_table(here(paths.PROCESSED) / f"{split}.parquet", ["record_id"]).column(0).to_numpy()
        for split in FITTED_ON
    ]
    used = np.unique(np.concatenate(ids))
    files[USED] = save_tensors({"record_id": used})
    files |= recent_past.files_of(here(paths.CONTEXT))
    features = Features.load(*bundle_parts.decoded(here(paths.FEATURES), files, "features"))
    some = benign.chosen(here(paths.PROCESSED) / "train.parquet")
    files |= benign.encoded(here(paths.RECORDS), some, bundle_parts.typed(features))
    seen = attacks.chosen(here(paths.PROCESSED) / "train.parquet")
    files |= attacks.encoded(here(paths.RECORDS), *seen, bundle_parts.typed(features))
    source = read_json(here(paths.SOURCE))
    columns = bundle_parts.columns_of(features)
    about = {"dataset": source["dataset"], "columns": columns, "example": features.typical()}
    about |= {name: source[name] for name in ("extraction", "reading", "label_settings") if name in source}
    about["contract"] = contract.fitted(here(paths.RECORDS), source, used, bundle_parts.typed(features))
    group = bundle_parts.decoded(here(paths.THRESHOLDS), files, "thresholds")[0].get("group")
    about |= {"group": group and bundle_parts.group_of(here(paths.RECORDS), group)}
    return HashedFolder(about, files)
