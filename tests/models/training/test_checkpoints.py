import os
import pickle
import resource
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.errors import ArtifactError
from pipeline.models.base import Batch
from pipeline.models.training.batches import Batches, mix
from pipeline.models.training.checkpoints import read, write

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
NESTED = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=12,
)


@settings(max_examples=40)
@given(content=st.dictionaries(st.text(), NESTED))
def test_what_is_written_is_read(content: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("checkpoint") / "x.safetensors"
    write(content, path)
    assert read(path) == content


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8])
def test_tensors_keep_type_shape_and_values(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0, 1, 3], [1, 0, 2]]).to(dtype)
    content = {"a": [tensor, (tensor.T, tensor[0, 0])], 7: {"shared": tensor, "empty": tensor[:0]}}
    write(content, tmp_path / "new" / "x.safetensors")
    again = read(tmp_path / "new" / "x.safetensors")
    for mine, theirs in (
        (again["a"][0], tensor),
        (again["a"][1][0], tensor.T),
        (again["a"][1][1], tensor[0, 0]),
        (again[7]["shared"], tensor),
        (again[7]["empty"], tensor[:0]),
    ):
        assert mine.dtype == dtype
        assert torch.equal(mine, theirs)


def test_the_state_of_an_optimiser_survives(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    write({"optimizer": optimizer.state_dict()}, tmp_path / "x")
    optimizer.load_state_dict(read(tmp_path / "x")["optimizer"])
    assert optimizer.state[layer.weight]["step"] == 1


def test_what_would_need_pickle_is_refused_and_the_old_file_survives(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write({"a": 1}, path)
    with pytest.raises(TypeError, match="not a set"):
        write({"a": {1, 2}}, path)
    assert read(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        with path.open("wb") as stream:
            stream.write(content[:4])
        raise OSError(28, "No space left on device")

    path = tmp_path / "x"
    write({"a": 1}, path)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArtifactError, match="No space"):
        write({"a": 2}, path)
    assert read(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_a_killed_writer_of_a_checkpoint_leaves_nothing_that_stays(tmp_path: Path) -> None:
    """Not under a name of a library's own either: the limit of the size of a file ends the process while it writes."""
    for limit in (0, 100, 200):
        child = os.fork()
        if not child:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # SIGXFSZ
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            try:
                write({"a": torch.zeros(64)}, tmp_path / "x")
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGXFSZ
    write({"a": 1}, tmp_path / "x")
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps({"a": 1})])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ArtifactError, match="not a checkpoint"):
        read(tmp_path / "x")
    with pytest.raises(ArtifactError, match="not a checkpoint"):
        read(tmp_path / "absent")


def rows(n: int) -> Batch:
    return Batch(torch.arange(n)[:, None].float(), torch.arange(n), torch.ones(n))


@given(n=st.integers(1, 40), size=st.integers(1, 50), shards=st.integers(1, 4), epoch=st.integers(0, 5))
def test_shards_make_the_same_steps_and_cover_every_row(n: int, size: int, shards: int, epoch: int) -> None:
    parts = []
    for rank in range(shards):
        batches = Batches(rows(n), size, 0, (rank, shards))
        batches.epoch = epoch
        parts.append(list(batches))
        assert len(parts[-1]) == len(batches)
        assert all(len(batch.y) >= 1 for batch in parts[-1])
    drawn = torch.cat([batch.y for part in parts for batch in part])
    assert set(drawn.tolist()) == set(range(n))
    if shards == 1:
        assert len(drawn) == n
        assert all(len(batch.y) == size for batch in parts[0][:-1])


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = Batches(rows(50), 7, seed)
        batches.epoch = epoch
        torch.rand(3)
        return torch.cat([batch.y for batch in batches]).tolist()

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(2, 1)
    assert order(0, 0) != order(0, 1)


def test_mixed_seeds_differ() -> None:
    assert len({mix(a, b) for a in range(50) for b in range(50)}) == 2500
