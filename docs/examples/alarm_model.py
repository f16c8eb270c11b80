"""Fit an alarm model on one simulated week, score another, and say why its strongest alert is one."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from pipeline import AlarmModel
from pipeline.datasets.synthetic.files import write


def week(seed: int) -> pd.DataFrame:
    """Labelled flow records, as pandas reads the files that CICFlowMeter writes."""
    with TemporaryDirectory() as folder:
        return pd.concat(map(pd.read_csv, write(Path(folder), records=2000, seed=seed)), ignore_index=True)


if __name__ == "__main__":
    model = AlarmModel().fit(week(seed=0))
    new = week(seed=1)
    decided = model.predict(new)
    print(decided.sort_values("score", ascending=False).head(3).to_string(), end="\n\n")
    print(decided["verdict"].value_counts().to_string(), end="\n\n")
    why = model.explain(new, most=1, top=3)
    print(why[["driver", "kind", "family", "feature", "value", "benign", "fall", "share"]].to_string(), end="\n\n")
    print("\n".join(why["text"]))
