"""Whoever can write to the registry makes no version serve: each attack is refused, with its reason, by every door."""

import base64
import contextlib
import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.champions import signed
from flows import promotion, verify
from flows.reports import decisions
from flows.reports.decisions import Outcome
from flows.triage import champion as triage
from pipeline import AlarmModel, config, tracking
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, write_json
from pipeline.base.errors import TrustError
from pipeline.serving import champion, loading, manifest, own_model, registry
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.registry import DIGEST
from pipeline.serving.trust import adopting, chain, keys, signing, statements, trusted, verification
from pipeline.serving.trust.keys import Signer
from pipeline.serving.trust.statements import PROMOTION, SIGNATURE
from pipeline.serving.version import DATASET, Version
from pipeline.serving.watching.serving_model import ServingModel
from pipeline.settings.alerts import Alerts
from pipeline.tracking import store as stores

SHIPPED = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def project(project):
    """The project with a store in which no version has an alias, without a log and without a note, before and after."""
    _forget()
    yield project
    _forget()


def _forget():
    for left in (paths.PROMOTIONS, paths.REGISTERED / champion.POINTER):
        left.unlink(missing_ok=True)
    found = stores.client().search_registered_models(f"name = '{own_model.name()}'")
    for alias in found[0].aliases if found else ():
        stores.client().delete_registered_model_alias(own_model.name(), alias)


def made(bundle, folder, about):
    """A new version."""
    HashedFolder({**bundle.sealed.about, "dataset": about}, bundle.sealed.files).save(folder)
    run = tracking.open_parent("training", {})
    tracking.close_parent(run)
    return registry.register(folder, run, {})


def decided(kind, version, champion):
    """Promote or roll back, and write the line, as the flow does."""
    now = registry.rollback() if kind == "rolled back" else registry.promote(version, champion)
    decisions.log(Outcome(kind, now, champion, ("as asked",)), "")
    return now


@pytest.fixture
def two(project, bundle, tmp_path, request):
    """Two versions; the first was promoted, then the second."""
    first, second = (made(bundle, tmp_path / str(each), f"{request.node.name} {each}") for each in range(2))
    first = decided("promoted", first, None)
    return first, decided("promoted", second, first)


def tag(version, **tags):
    for name, value in tags.items():
        stores.client().set_model_version_tag(version.model, str(version.number), f"flowsculpt.{name}", value)


def move(alias, version):
    stores.client().set_registered_model_alias(version.model, alias, str(version.number))


def fresh(version):
    return registry.find_version(version.number)


def source(version):
    """Where the store holds a version."""
    uri = stores.client().get_model_version_download_uri(version.model, str(version.number))
    return Path(uri.removeprefix("file://"))


def refused(match, capsys, alias="champion"):
    """Every door refuses what has an alias; gives the message."""
    with pytest.raises(TrustError, match=match) as found:
        loading.load(alias)
    with pytest.raises(TrustError, match=match):
        AlarmModel.load(alias)
    with pytest.raises(TrustError, match=match):
        ServingModel(alias, None, None, print)
    if alias == "champion":
        capsys.readouterr()
        triage.main()
        assert json.loads(capsys.readouterr().out)["sentence"].startswith("The champion cannot be asked")
        assert verify.main([]) == verify.DIFFERS
    return str(found.value)


# What serves by the book.


def test_what_was_promoted_serves_and_can_be_gone_back_from(two, capsys):
    first, second = two
    assert loading.load()[0].number == second.number
    decided("rolled back", None, second)
    assert loading.load()[0].number == first.number
    assert loading.load("previous")[0].number == second.number
    assert loading.load(str(second.number))[0].number == second.number
    for which in ("champion", "previous", str(second.number)):
        assert verify.main([which]) == 0
    said = capsys.readouterr().out
    assert "NOT OK" not in said and "3 lines are signed" in said
    assert verify.main(["champoin"]) == 1
    assert "did you mean 'champion'" in capsys.readouterr().err


def test_a_version_names_its_bundle_code_and_settings_in_a_statement_that_others_can_read(two):
    first, _ = two
    told = json.loads(first.tags[SIGNATURE])
    body = base64.b64decode(told["payload"])
    statement = json.loads(body)
    assert told["payloadType"] == "application/vnd.in-toto+json"
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    digests = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
    assert digests["bundle.json"] == first.digest
    assert {*digests} == {"bundle.json", "code", "params.yaml"}
    assert (statement["predicate"]["model"], statement["predicate"]["run"]) == ("flowsculpt", first.run_id)
    (signature,) = told["signatures"]
    (key,) = read_json(paths.TRUSTED_KEYS)["keys"]
    kind = told["payloadType"]
    pae = f"DSSEv1 {len(kind)} {kind} {len(body)} ".encode() + body  # as the protocol has it
    public = keys.present().private.public_key()
    public.verify(base64.b64decode(signature["sig"]), pae)
    assert base64.b64decode(key["public"]) == public.public_bytes_raw() and signature["keyid"] == key["keyid"]
    assert max(len(first.tags[SIGNATURE]), len(first.tags[PROMOTION])) < 2500


# Attacks on the registry.


@pytest.mark.parametrize("copied", [False, True])
def test_a_takeover_over_http_is_refused(two, other_bundle, tmp_path, capsys, copied):
    _, second = two
    shutil.copytree(source(second), tmp_path / "evil", dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "evil" / "artifacts" / "bundle")
    other_bundle.save(tmp_path / "evil" / "artifacts" / "bundle")
    tags = {name: second.tags[name] for name in (SIGNATURE, PROMOTION) if copied} | {DIGEST: other_bundle.digest}
    evil = stores.client().create_model_version(second.model, f"file://{tmp_path}/evil", tags=tags)
    move("champion", registry.find_version(int(evil.version)))
    refused("was signed; somebody changed what is registered" if copied else "is not signed", capsys)


def test_a_model_that_a_strangers_key_signed_is_refused(two, capsys):
    _, second = two
    stranger = Signer(Ed25519PrivateKey.generate(), "theirs")
    tag(second, signature=statements.sign_model(second.model, {"bundle.json": second.digest}, {}, stranger))
    assert stranger.keyid[:12] in refused("is not trusted here", capsys)


@pytest.mark.parametrize("spoilt", ["", "{}", "[1]", "nothing", "[" * 9000, '{"payload": 3, "signatures": [{}]}'])
def test_what_is_no_signature_is_refused(two, spoilt, capsys):
    _, second = two
    tag(second, signature=spoilt)
    refused("its signature does not count", capsys)


def test_an_alias_that_was_moved_to_a_candidate_is_refused(two, bundle, tmp_path, capsys):
    _, second = two
    third = made(bundle, tmp_path / "third", str(tmp_path))
    move("champion", third)
    told = refused("no signed decision made it serve", capsys)
    assert f"by the log version {second.number} serves: `flowsculpt keys adopt {second.number}`" in told
    assert loading.load("candidate")[0].number == third.number  # whoever asks for it by its name gets it


@pytest.mark.parametrize("known", ["log", "note"])
def test_an_alias_that_was_moved_to_what_served_once_is_refused(two, known, capsys):
    first, second = two
    if known == "note":
        loading.load()
        paths.PROMOTIONS.unlink()
    else:
        (paths.REGISTERED / champion.POINTER).unlink()
    move("champion", first)
    told = refused("somebody moved the alias", capsys)
    assert f"made version {second.number} serve" in told and f"keys adopt {second.number}" in told


@pytest.mark.parametrize("known", ["log", "note"])
def test_an_old_signature_that_is_put_back_is_refused(two, known, capsys):
    first, second = two
    decided("rolled back", None, second)
    if known == "note":
        loading.load()
        paths.PROMOTIONS.unlink()
    else:
        (paths.REGISTERED / champion.POINTER).unlink()
    tag(first, promotion=first.tags[PROMOTION])
    refused("an old signature was put back", capsys)


@pytest.mark.parametrize("how", ["files", "files and digest"])
def test_a_champion_whose_bundle_was_swapped_is_refused(two, other_bundle, how, capsys):
    _, second = two
    shutil.rmtree(champion.folder_of(second.number, second.digest), ignore_errors=True)
    shutil.rmtree(source(second) / "artifacts" / "bundle")
    other_bundle.save(source(second) / "artifacts" / "bundle")
    if how == "files":
        refused("it is another model", capsys)
    else:
        tag(second, digest=other_bundle.digest)
        refused("somebody changed what is registered", capsys)


def test_the_decision_on_another_version_is_refused(two, bundle, tmp_path, capsys):
    _, second = two
    third = made(bundle, tmp_path / "third", str(tmp_path))
    tag(third, promotion=second.tags[PROMOTION])
    move("champion", third)
    refused(f"is about version {second.number}", capsys)


def test_nothing_of_a_foreign_bundle_is_parsed(two, monkeypatch, capsys):
    _, second = two
    shutil.rmtree(champion.folder_of(second.number, second.digest), ignore_errors=True)
    path = source(second) / "artifacts" / "bundle" / manifest.MANIFEST
    path.write_bytes(b"[" * 100_000)  # a parser ends in a traceback here
    refused("it is another model", capsys)


def test_with_the_registry_away_a_note_that_was_changed_is_refused(two, monkeypatch):
    first, second = two
    loading.load()
    pointer = read_json(paths.REGISTERED / champion.POINTER)
    noted = pointer[own_model.name()]["champion"]
    noted["number"] = first.number
    write_json(paths.REGISTERED / champion.POINTER, pointer)
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        with pytest.raises(TrustError, match=f"is about version {second.number}"):
            loading.load()


def test_a_machine_without_keys_refuses(two, monkeypatch, capsys):
    monkeypatch.setattr(trusted, "place", lambda: Path("nowhere.json"))
    refused("bring data/trusted_keys.json from the machine that trains", capsys)


def test_a_line_that_was_appended_to_the_code_is_found(two, capsys):
    _, second = two
    for path in (source(second) / "code" / "pipeline" / "__init__.py", source(second) / "pyfunc.py"):
        content = path.read_bytes()
        path.write_bytes(content + b"\nimport os\n")
        assert verify.main([]) == verify.DIFFERS
        assert "stored code" in capsys.readouterr().out.rpartition("do not trust it:")[2]
        path.write_bytes(content)
    (source(second) / "code" / "pipeline" / "extra.py").write_text("1")
    assert verify.main([]) == verify.DIFFERS
    (source(second) / "code" / "pipeline" / "extra.py").unlink()
    (source(second) / "code" / "__pycache__").mkdir()
    (source(second) / "code" / "__pycache__" / "a.pyc").write_bytes(b"1")
    assert verify.main([]) == verify.DIFFERS
    assert "remove code/__pycache__ from the store" in capsys.readouterr().out
    shutil.rmtree(source(second) / "code" / "__pycache__")
    assert verify.main([]) == 0


def test_an_origin_that_was_rewritten_is_found(two, capsys):
    _, second = two
    tag(second, dataset="another one")
    assert verify.main([]) == verify.DIFFERS
    assert "the registry says of its dataset 'another one'" in capsys.readouterr().out


# The log.


def rewrite(number, change):
    """Change a line of the log, by its number."""
    lines = paths.PROMOTIONS.read_bytes().splitlines()
    lines[number - 1] = json.dumps(change(json.loads(lines[number - 1]))).encode()
    paths.PROMOTIONS.write_bytes(b"\n".join(lines) + b"\n")


def test_a_forged_line_is_refused(two, capsys):
    first, second = two
    line = json.loads(paths.PROMOTIONS.read_bytes().splitlines()[-1])
    forged = {**line, "sequence": line["sequence"] + 1, "serving": first.number, "previous": chain.read().head}
    with paths.PROMOTIONS.open("ab") as file:
        file.write(json.dumps(forged).encode() + b"\n")
    refused("line 3 is forged or was changed", capsys)
    with pytest.raises(TrustError, match="line 3 is forged"):
        registry.promote(first, second)
    with pytest.raises(TrustError, match="line 3 is forged"):
        registry.rollback()


def test_a_line_of_a_stranger_or_of_nobody_is_refused(two, capsys):
    stranger = Signer(Ed25519PrivateKey.generate(), "theirs")
    before, content = chain.read(), paths.PROMOTIONS.read_bytes()
    line = {**before.lines[-1], "sequence": before.sequence + 1, "previous": before.head}
    paths.PROMOTIONS.write_bytes(content + json.dumps(chain.signed(line, stranger)).encode() + b"\n")
    refused("line 3 is forged, or signed elsewhere", capsys)
    paths.PROMOTIONS.write_bytes(content + b'{"decision": "promoted", "serving": 1}\n')
    refused("line 3 is not signed, and lines before it are", capsys)


def test_a_line_that_was_changed_or_taken_out_is_named(two, capsys):
    content = paths.PROMOTIONS.read_bytes()
    rewrite(1, lambda line: {**line, "reasons": ["better"]})
    refused("line 1 is forged or was changed", capsys)
    _, second = content.splitlines()
    paths.PROMOTIONS.write_bytes(second + b"\n")
    refused("line 1 does not follow the line before it", capsys)


def test_lines_that_were_cut_off_at_the_end_are_found(two, capsys):
    _, second = two
    paths.PROMOTIONS.write_bytes(b"")
    assert verify.main([]) == verify.DIFFERS
    assert "lines at the end of" in capsys.readouterr().out
    assert loading.load()[0].number == second.number  # it shows the last decision that this machine has seen


def test_a_rollback_to_what_did_not_serve_before_is_refused(two, bundle, tmp_path):
    first, second = two
    third = decided("promoted", made(bundle, tmp_path / "third", str(tmp_path)), second)
    move("previous", first)  # it served, but not before the third
    with pytest.raises(TrustError, match=f"by the log of promotions version {second.number} served before"):
        registry.rollback()
    fourth = made(bundle, tmp_path / "fourth", f"{tmp_path} 4")
    move("previous", fourth)
    with pytest.raises(TrustError, match="no signed decision made it serve"):
        registry.rollback()
    outcome = promotion.roll_back()
    assert (outcome.kind, outcome.is_distrusted, outcome.code) == ("unreadable", True, decisions.ERROR_CODE)
    move("previous", second)
    assert registry.rollback().number == second.number != third.number


# A promotion that is killed.


class Killed(BaseException):
    """What ends a process at once."""


@pytest.mark.parametrize("step", range(6))
def test_a_promotion_that_is_killed_leaves_a_champion_that_counts(two, bundle, tmp_path, monkeypatch, step):
    first, second = two
    third, client, calls = made(bundle, tmp_path / "third", str(tmp_path)), stores.client(), []

    def breaks(name, original):
        def call(*given, **named):
            calls.append(name)
            if len(calls) > step:
                raise Killed
            return original(*given, **named)

        return call

    with monkeypatch.context() as patch:
        for name in ("set_model_version_tag", "set_registered_model_alias"):
            patch.setattr(client, name, breaks(name, getattr(client, name)))
        patch.setattr(chain, "append", breaks("append", chain.append))
        with contextlib.suppress(Killed):
            decided("promoted", third, second)
    whole = ["set_model_version_tag", "set_registered_model_alias", "set_registered_model_alias", "append"]
    assert calls == whole[: step + 1]
    served = loading.load()[0]
    assert served.number == (third if step > 2 else second).number
    assert verify.main([]) == 0
    if step <= 2:  # it can be done again
        now = fresh(second)
        assert decided("promoted", fresh(third), now).number == loading.load()[0].number
    else:  # the next decision says what it found, and goes on
        decided("rolled back", None, fresh(third))
        assert loading.load()[0].number == second.number
    assert verify.main([]) == 0 and not chain.read(thorough=True).faults
    move("champion", first)
    with pytest.raises(TrustError, match="somebody moved the alias"):
        loading.load()


# The watch.


def test_a_watch_goes_on_with_the_model_that_it_has_and_says_so_once(two, bundle, tmp_path):
    _, second = two
    told = []
    alerts = config.load(Alerts, SHIPPED)
    model = ServingModel("champion", None, alerts, lambda text, **found: told.append((text, found)))
    move("champion", made(bundle, tmp_path / "third", str(tmp_path)))
    for _ in range(3):
        model.refresh()
    assert (model.current.number, model.refused, len(told)) == (second.number, 1, 1)
    assert told[0][0].endswith(f"; version {second.number} goes on") and told[0][1] == {"refused": "untrusted"}
    move("champion", second)
    model.refresh()
    move("champion", made(bundle, tmp_path / "third", str(tmp_path)))
    model.refresh()
    assert (model.refused, len(told)) == (2, 2)


# Champions from before.


@pytest.fixture
def before(two):
    """Two versions as they were before anything was signed: the second serves, and the first did before."""
    first, second = two
    lines = [json.loads(line) for line in paths.PROMOTIONS.read_bytes().splitlines()]
    for line in lines:
        for name in ("sequence", "previous", "keyid", "signature", "promotion"):
            del line[name]
    paths.PROMOTIONS.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (paths.REGISTERED / champion.POINTER).unlink(missing_ok=True)
    for version in two:
        for name in (SIGNATURE, PROMOTION):
            stores.client().delete_model_version_tag(version.model, str(version.number), name)
    return fresh(first), fresh(second)


def test_a_champion_from_before_is_refused_until_it_is_adopted(before, capsys):
    first, second = before
    told = refused("is not signed; it was registered before versions were signed", capsys)
    assert f"`flowsculpt keys adopt {second.number}`" in told
    done = adopting.adopt("champion")
    assert any("signed that it serves" in each for each in done)
    assert loading.load()[0].number == second.number and verify.main([]) == 0
    assert "serves by a signed decision already" in adopting.adopt("champion")[-1]
    assert chain.read(thorough=True).lines[-1]["decision"] == "adopted"
    with pytest.raises(TrustError, match="is not signed"):
        registry.rollback()
    adopting.adopt(str(first.number))
    assert loading.load()[0].number == second.number
    assert decided("rolled back", None, fresh(second)).number == first.number
    assert loading.load()[0].number == first.number and verify.main([]) == 0


def test_a_line_of_the_beginning_that_was_changed_later_is_found(before, capsys):
    adopting.adopt("champion")
    rewrite(1, lambda line: {**line, "reasons": ["better"]})
    refused("line 3 does not follow the line before it", capsys)


def test_what_the_log_does_not_know_is_not_adopted(before, bundle, other_bundle, tmp_path):
    _, second = before
    third = made(bundle, tmp_path / "third", str(tmp_path))
    with pytest.raises(TrustError, match=r"no line of .* made it serve"):
        adopting.adopt(str(third.number))
    shutil.rmtree(source(second) / "artifacts" / "bundle")
    other_bundle.save(source(second) / "artifacts" / "bundle")
    with pytest.raises(TrustError, match="it is another model"):
        adopting.adopt("champion")
    tag(second, digest=other_bundle.digest)
    with pytest.raises(TrustError, match="it was replaced"):
        adopting.adopt("champion")


def test_a_champion_whose_alias_was_moved_gets_it_back(two, capsys):
    first, second = two
    move("champion", first)
    refused("somebody moved the alias", capsys)
    assert any("gave it the alias champion" in each for each in adopting.adopt(str(second.number)))
    assert loading.load()[0].number == second.number
    assert registry.rollback().number == first.number


def test_a_promotion_judges_no_champion_that_does_not_count(two, bundle, tmp_path, monkeypatch):
    _, second = two
    made(bundle, tmp_path / "third", str(tmp_path))
    tag(second, promotion="")
    monkeypatch.setattr(promotion.config, "load", lambda *_: None)
    outcome = promotion.promote("candidate", dry_run=True)
    assert (outcome.kind, outcome.is_distrusted) == ("unreadable", True)
    assert "the decision that made it serve does not count" in outcome.reasons[0]


def test_the_same_bundle_under_a_signature_that_does_not_count_is_registered_anew(two, bundle, tmp_path):
    _, second = two
    tag(second, signature="{}")
    run = tracking.open_parent("training", {})
    tracking.close_parent(run)
    again = registry.register(tmp_path / "1", run, {})
    assert again.number > second.number and again.digest == second.digest
    assert verification.model_of(again).digest == second.digest


def test_versions_of_another_model_are_verified_too(two):
    other = signed(Version(1, "run", "ab" * 32, {DIGEST: "ab" * 32}, (), "zeek"))
    verification.require(other, "champion")
    mixed = Version(1, "run", other.digest, other.tags, (), "flowsculpt")
    with pytest.raises(TrustError, match="its signature was copied from the model 'zeek'"):
        verification.require(mixed, "1")
    assert signing.ABOUT["dataset"] == DATASET
