"""A key that signs models alone lets no version serve."""

import pytest

from flows import keys as command
from flows import promotion
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, write_json
from pipeline.base.errors import TrustError
from pipeline.serving.trust import chain, keys, signing, statements, trusted, verification
from pipeline.serving.trust.retiring import retire
from pipeline.serving.trust.statements import PROMOTION, SIGNATURE
from pipeline.serving.version import Version

DIGEST = "ab" * 32
BARRED = "signs models and no promotions"


def version(**tags):
    named = {f"flowsculpt.{name}": value for name, value in tags.items()}
    return Version(3, "run", DIGEST, named, ("champion",), "flowsculpt")


def line(number=3):
    about = {"model": "flowsculpt", "decision": "promoted", "serving": number, "champion": None}
    return {**about, "digests": {"candidate": DIGEST, "champion": None}}


@pytest.fixture
def trainer(project):
    """The key of a machine that only trains."""
    key, is_new = keys.init("trainer", promotes=False)
    assert is_new
    return key


def test_it_signs_models(trainer):
    tag = signing.model("flowsculpt", DIGEST, "", "run", {})
    assert verification.model_of(version(signature=tag)).key.name == "trainer"


def test_it_signs_no_decision_and_no_line_that_makes_a_version_serve(trainer):
    for act in (
        lambda: signing.promotion(version(), []),
        lambda: chain.append(line()),
        promotion.promote,
        promotion.roll_back,
        keys.require_promoter,
    ):
        with pytest.raises(TrustError, match=BARRED):
            act()
    chain.append({"model": "flowsculpt", "decision": "refused", "candidate": 3, "serving": None})
    assert not chain.require().served("flowsculpt")


def test_a_decision_that_it_signed_all_the_same_counts_nowhere(trainer):
    tags = {
        "signature": signing.model("flowsculpt", DIGEST, "", "run", {}),
        "promotion": statements.sign_promotion("flowsculpt", 3, DIGEST, (1, chain.NOTHING), trainer),
    }
    assert {f"flowsculpt.{name}" for name in tags} == {SIGNATURE, PROMOTION}
    verification.require(version(**tags), "3")
    for alias in ("champion", "previous"):
        with pytest.raises(TrustError, match=rf"key {trainer.keyid[:12]} \(trainer\), which {BARRED}"):
            verification.require(version(**tags), alias)


def test_a_line_that_it_signed_all_the_same_is_named(trainer):
    told = chain.signed({**line(), "sequence": 1, "previous": chain.NOTHING}, trainer)
    paths.PROMOTIONS.parent.mkdir(parents=True, exist_ok=True)
    paths.PROMOTIONS.write_text(f"{chain.json.dumps(told)}\n")
    with pytest.raises(TrustError, match=rf"line 1 makes a version serve, .* key {trainer.keyid[:12]} {BARRED}"):
        chain.require()


def test_a_line_that_it_signs_vouches_for_no_line_before(project):
    """Somebody who has only this key changes a decision and writes a line of his own below it."""
    keys.signer()
    chain.append(line())
    chain.append({"model": "flowsculpt", "decision": "refused", "candidate": 4, "serving": None})
    keys.file().unlink()
    own, _ = keys.init("trainer", promotes=False)
    first, second = chain.place().read_bytes().splitlines()
    forged = first.replace(b'"serving": 3', b'"serving": 9')
    last = {**chain.durable.parsed(second), "previous": chain.hashlib.sha256(forged).hexdigest(), "sequence": 9}
    last = chain.signed({name: value for name, value in last.items() if name not in chain.SIGNED}, own)
    chain.place().write_bytes(forged + b"\n" + chain.json.dumps(last).encode() + b"\n")
    with pytest.raises(TrustError, match="line 1 is forged or was changed"):
        chain.require()
    chain.place().write_bytes(first + b"\n" + second + b"\n")
    chain.append({"model": "flowsculpt", "decision": "refused", "candidate": 5, "serving": None})
    assert [each.number for each in chain.require().served("flowsculpt")] == [3]


def test_it_retires_no_other_key(trainer):
    with pytest.raises(TrustError, match=BARRED):
        chain.append({"model": None, "decision": chain.RETIRED, "key": "ab" * 32})


def test_it_does_not_retire_itself(trainer):
    with pytest.raises(TrustError, match=BARRED):
        retire(trainer.keyid)
    assert [(key.keyid, key.retired) for key in trusted.load()] == [(trainer.keyid, None)]
    assert keys.signer().keyid == trainer.keyid


def test_a_key_that_promotes_retires_it(project, monkeypatch):
    keys.signer()
    own = keys.file().read_text()
    keys.file().unlink()
    trainer, _ = keys.init("trainer", promotes=False)
    keys.file().unlink()
    monkeypatch.setenv(keys.VARIABLE, own)
    retire(trainer.keyid)
    assert [bool(key.retired) for key in trusted.load()] == [False, True]


def test_a_list_from_before_lets_its_keys_promote(project):
    keys.signer()
    told = read_json(paths.TRUSTED_KEYS)
    del told["keys"][0]["promotes"]
    write_json(paths.TRUSTED_KEYS, told)
    keys.require_promoter()
    told["keys"][0]["promotes"] = "no"
    write_json(paths.TRUSTED_KEYS, told)
    with pytest.raises(TrustError, match="says neither true nor false under promotes"):
        trusted.load()


def test_the_command_makes_and_shows_such_a_key(project, capsys):
    assert command.main(["init", "--name", "gpu box", "--models-only"]) == 0
    assert command.main(["list"]) == 0
    assert "gpu box  (models only)  (signs here)" in capsys.readouterr().out


def test_the_command_does_not_take_a_right_away(project, capsys):
    keys.signer()
    assert command.main(["init", "--models-only"]) == 0
    assert "it promotes, too; take it away first" in capsys.readouterr().out
    assert all(key.promotes for key in trusted.load())
