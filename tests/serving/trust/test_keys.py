"""Keys: nobody else can read the private one, and only those in the list count."""

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from benchmarks.champions import signed
from flows import keys as command
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, write_json
from pipeline.base.errors import TrustError
from pipeline.serving.trust import chain, keys, trusted, verification
from pipeline.serving.trust.retiring import retire
from pipeline.serving.version import Version


def pem(key, secret=None):
    how = BestAvailableEncryption(secret) if secret else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how).decode()


def version(number, digest="ab" * 32):
    return signed(Version(number, "run", digest, {}, ("champion",), "flowsculpt"))


def line(served):
    number = verification.promotion_of(served).sequence
    digests = {"candidate": served.digest, "champion": None}
    about = {"model": served.model, "decision": "promoted", "serving": served.number, "champion": None}
    chain.append({**about, "digests": digests, "promotion": number}, number)


def test_the_first_signature_makes_a_key_that_nobody_else_can_read_and_says_so(project, caplog):
    with caplog.at_level(logging.WARNING):
        first = keys.signer()
    assert [record.getMessage() for record in caplog.records] == [
        f"key {first.keyid[:12]} signs here from now on ({keys.file()}); keep it, and let nobody read it"
    ]
    assert keys.file().stat().st_mode & 0o777 == 0o600
    assert keys.file().parent.stat().st_mode & 0o777 == 0o700
    assert keys.signer().keyid == first.keyid
    (known,) = trusted.load()
    assert (known.keyid, known.public, known.retired) == (first.keyid, first.public, None)


def test_threads_that_sign_first_at_once_make_one_key(project):
    with ThreadPoolExecutor(8) as pool:
        found = {each.keyid for each in pool.map(lambda _: keys.signer(), range(16))}
    assert len(found) == len(trusted.load()) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused_with_the_remedy(project, mode):
    keys.signer()
    keys.file().chmod(mode)
    with pytest.raises(TrustError, match=rf"others can read it \({mode:o}\); run: chmod 600 "):
        keys.signer()
    keys.file().chmod(0o600)
    keys.file().parent.chmod(0o750)
    with pytest.raises(TrustError, match="run: chmod 700 "):
        keys.signer()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_key_of_another_user_is_refused(project):
    keys.signer()
    os.chown(keys.file(), 12345, -1)
    with pytest.raises(TrustError, match="belongs to another user"):
        keys.signer()


def test_a_key_may_come_from_the_environment(project, monkeypatch):
    key = Ed25519PrivateKey.generate()
    monkeypatch.setenv(keys.VARIABLE, pem(key))
    assert keys.signer().public == key.public_key().public_bytes_raw()
    assert not keys.file().exists()
    monkeypatch.setenv(keys.VARIABLE, pem(Ed25519PrivateKey.generate()))
    with pytest.raises(TrustError, match="does not list it; add it with `flowsculpt keys init`"):
        keys.signer()
    assert command.main(["init", "--name", "of the night"]) == 0
    assert keys.signer() and [each.name for each in trusted.load()][-1] == "of the night"


@pytest.mark.parametrize("kind", ["other", "locked", "text"])
def test_what_is_no_such_key_is_refused(project, monkeypatch, kind):
    given = {
        "other": lambda: pem(generate_private_key(SECP256R1())),
        "locked": lambda: pem(Ed25519PrivateKey.generate(), b"secret"),
        "text": lambda: "no key",
    }[kind]()
    monkeypatch.setenv(keys.VARIABLE, given)
    match = "an Ed25519 key is expected" if kind == "other" else "holds no private key in PEM without a password"
    with pytest.raises(TrustError, match=match) as refused:
        keys.signer()
    assert given not in str(refused.value)


def test_a_machine_that_knows_keys_and_has_none_signs_nothing(project, capsys):
    first = keys.signer()
    keys.file().unlink()
    with pytest.raises(
        TrustError, match=f"trusted are {first.keyid[:12]}.*make another one with `flowsculpt keys init`"
    ):
        keys.signer()
    assert command.main(["init"]) == 0
    assert "bring data/trusted_keys.json to each machine" in capsys.readouterr().out
    assert command.main(["init"]) == 0
    assert "signs here already" in capsys.readouterr().out
    assert len(trusted.load()) == 2


@pytest.mark.parametrize("change", ["public", "keyid", "keys", "whole"])
def test_a_list_that_was_spoilt_is_refused(project, change):
    keys.signer()
    told = read_json(paths.TRUSTED_KEYS)
    if change == "whole":
        paths.TRUSTED_KEYS.write_text("[1")
    elif change == "keys":
        write_json(paths.TRUSTED_KEYS, {"keys": 3})
    else:
        told["keys"][0][change] = "AAAA"
        write_json(paths.TRUSTED_KEYS, told)
    with pytest.raises(TrustError, match="cannot be read"):
        keys.signer()


def test_a_retired_key_counts_for_what_served_and_for_nothing_else(project):
    served, other = version(1), version(2, "cd" * 32)
    line(served)
    old = keys.present()
    again = signed(served)  # a decision that is in no line
    assert any("is retired" in each for each in retire(old.keyid[:8]))
    new = keys.signer()
    assert new.keyid != old.keyid
    verification.require(served, "champion")
    with pytest.raises(TrustError, match=r"which was retired at .*, and this version did not serve before that"):
        verification.require(other, "2")
    with pytest.raises(TrustError, match=r"which was retired at .*promote again"):
        verification.promotion_of(again)
    told = json.loads(paths.PROMOTIONS.read_text().splitlines()[-1])
    assert (told["decision"], told["key"], told["keyid"]) == ("key retired", old.keyid, new.keyid)
    assert not chain.read(thorough=True).faults
    with pytest.raises(TrustError, match=r"was retired at .* already"):
        retire(old.keyid)
    verification.require(signed(other), "champion")


@pytest.mark.parametrize("step", ["trusted.save", "durable.publish", "chain.append", "trusted.save of the retired"])
def test_a_retirement_that_was_interrupted_goes_on_with_the_same_key_and_one_line(project, step, monkeypatch):
    line(version(1))
    old, calls = keys.present(), []

    def dies(*given):
        calls.append(1)
        if step == "trusted.save of the retired" and len(calls) == 1:
            return save(*given)
        raise KeyboardInterrupt

    save, (module, name) = trusted.save, step.split()[0].split(".")
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr({"trusted": trusted, "durable": keys.durable, "chain": chain}[module], name, dies)
        retire(old.keyid)
    verification.require(version(1), "champion")  # whatever was done, it signs
    retire(old.keyid)
    assert [(key.keyid, bool(key.retired)) for key in trusted.load()] == [
        (old.keyid, True),
        (keys.signer().keyid, False),
    ]
    assert [each["decision"] for each in chain.read(thorough=True).lines].count("key retired") == 1
    assert not chain.read(thorough=True).faults
    assert sorted(path.name for path in keys.file().parent.iterdir()) == ["lock", "signing.key"]


def test_a_line_that_a_retired_key_signs_is_found(project):
    line(version(1))
    old = keys.present()
    retire(old.keyid)
    found = chain.read()
    forged = {**found.lines[0], "sequence": found.sequence + 1, "previous": found.head}
    with paths.PROMOTIONS.open("ab") as file:
        file.write(json.dumps(chain.signed(forged, old)).encode() + b"\n")
    with pytest.raises(TrustError, match=f"line 3 is signed with key {old.keyid[:12]}, which a line before it retired"):
        chain.require()


def test_a_key_of_the_environment_is_not_replaced(project, monkeypatch):
    monkeypatch.setenv(keys.VARIABLE, pem(Ed25519PrivateKey.generate()))
    first = keys.signer()
    with pytest.raises(TrustError, match="set another one first"):
        retire(first.keyid)
    monkeypatch.setenv(keys.VARIABLE, pem(Ed25519PrivateKey.generate()))
    keys.init()
    retire(first.keyid)
    monkeypatch.setenv(keys.VARIABLE, pem(first.private))
    with pytest.raises(TrustError, match="was retired at"):
        keys.signer()
    with pytest.raises(TrustError, match="holds a key that was retired"):
        keys.init()


def test_the_command_lists_keys_and_names_the_near_miss(project, capsys):
    assert command.main(["list"]) == 0
    assert "no key is trusted here" in capsys.readouterr().out
    first = keys.signer()
    assert command.main(["list"]) == 0
    assert first.keyid[:12] in (said := capsys.readouterr().out) and "(signs here)" in said
    wrong = first.keyid[:11] + ("0" if first.keyid[11] != "0" else "1")
    assert command.main(["retire", wrong]) == 1
    assert f"did you mean '{first.keyid[:12]}'" in capsys.readouterr().err
    assert command.main(["retire", first.keyid[:4]]) == 1
    assert command.main(["retire", first.keyid[:8]]) == 0
    assert command.main(["list"]) == 0
    assert "retired 20" in capsys.readouterr().out
