"""The extras of the installation: which of them brings a library that is absent here.

A machine that scores needs none; see ``pyproject.toml``. ``make`` installs all.
"""

from typing import Final

PROJECT: Final = "flowsculpt"
TRAIN, ORCHESTRATE, VALIDATE = EXTRAS = ("train", "orchestrate", "validate")
# What is installed where an extra is, and nowhere else: MLflow alone brings much of the others.
KNOWN_BY: Final = {TRAIN: {"dvc", "lightning", "torch"}, ORCHESTRATE: {"prefect"}, VALIDATE: {"great-expectations"}}
# What is imported -> the extra that brings it.
BROUGHT_BY: Final = {
    **dict.fromkeys(("torch", "lightning", "sklearn", "dvc", "matplotlib", "cyclonedx", "pynvml"), TRAIN),
    **dict.fromkeys(("sqlalchemy", "alembic"), TRAIN),  # MLflow's stores
    **dict.fromkeys(("prefect", "httpx"), "all"),  # what flows orchestrate needs the others, too
    "flask": ORCHESTRATE,  # MLflow's server
    "great_expectations": VALIDATE,
    **dict.fromkeys(("dask", "distributed"), "dask"),
}


def lacking(error: ImportError) -> str | None:
    """What is absent, and how to install it; None for a module that no extra brings."""
    name = (error.name or "").partition(".")[0]
    if (extra := BROUGHT_BY.get(name)) is None:
        return None
    return f"{name} is not installed here, and this needs it; {remedy(extra)}"


def remedy(extra: str = "all") -> str:
    """How an extra is installed."""
    command = f"in a clone run `pip install --editable '.[{extra}]' --constraint constraints.txt`"
    return f"{command}; the worker image has it" if extra in (*EXTRAS, "all") else command
