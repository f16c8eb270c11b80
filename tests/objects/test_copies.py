"""Objects are fetched whole, once, and what cannot be fetched is a sentence without a secret."""

import os
import threading

import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.files import sha256_of
from pipeline.base.errors import ConfigError, SourceError
from pipeline.objects import copies, store
from pipeline.objects.address import Address
from tests.conftest import KEY, SECRET


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def put(bucket, name, text="a,b\n1,2\n"):
    bucket.put_object(Key=name, Body=text.encode())


def copied(place):
    """The copies below a place, with their texts."""
    found = (path for path in place.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(place).as_posix(): path.read_text() for path in found}


@pytest.fixture
def fetches(monkeypatch):
    """The addresses of what was fetched."""
    fetched, real = [], store.Store.fetch

    def fetch(self, wanted, target):
        fetched.append(str(wanted.address))
        real(self, wanted, target)

    monkeypatch.setattr(store.Store, "fetch", fetch)
    return fetched


def test_a_path_stays_a_path(fetches):
    assert str(copies.local("data/raw")) == "data/raw"
    assert copies.origin(copies.local("data/raw")) == ""


def test_an_address_is_the_folder_of_what_lies_below_it_and_each_object_is_fetched_once(bucket, fetches):
    put(bucket, "raw/x.csv")
    put(bucket, "raw/deep/y.csv", "c\n3\n")
    put(bucket, "rawer/z.csv")
    bucket.put_object(Key="raw/folder/", Body=b"")  # what some tools write for a folder
    place = copies.local("s3://bucket/raw/")
    assert place == paths.OBJECTS / "s3" / "bucket" / "raw"
    assert copied(place) == {"x.csv": "a,b\n1,2\n", "deep/y.csv": "c\n3\n"}
    assert copies.local("s3://bucket/raw") == place
    assert copies.local("s3://bucket/raw/x.csv") == place / "x.csv"
    assert fetches == ["s3://bucket/raw/deep/y.csv", "s3://bucket/raw/x.csv"]
    assert copies.origin(place / "deep/y.csv") == "s3://bucket/raw/deep/y.csv"
    assert place.parent.parent.parent.stat().st_mode & 0o077 == 0


def test_a_store_is_opened_once_for_all_objects(bucket, monkeypatch):
    opened, real = [], store._opened
    monkeypatch.setattr(store, "_opened", lambda address: opened.append(str(address)) or real(address))
    for number in range(5):
        put(bucket, f"raw/{number}.csv")
    copies.local("s3://bucket/raw")
    assert opened == ["s3://bucket/raw"]


def test_what_changed_is_fetched_again_and_what_is_gone_goes(bucket, fetches):
    put(bucket, "raw/x.csv")
    put(bucket, "raw/y.csv")
    place = copies.local("s3://bucket/raw")
    put(bucket, "raw/x.csv", "a,b\n1,3\n")  # as long as before
    bucket.Object("raw/y.csv").delete()
    assert copied(copies.local("s3://bucket/raw")) == {"x.csv": "a,b\n1,3\n"}
    assert fetches.count("s3://bucket/raw/x.csv") == 2
    (place / "x.csv").write_text("cut")  # a disk that lost something
    assert copied(copies.local("s3://bucket/raw")) == {"x.csv": "a,b\n1,3\n"}


def test_a_fetch_that_is_killed_leaves_no_copy_that_counts(bucket, monkeypatch, fetches):
    put(bucket, "raw/x.csv")
    place = copies.local("s3://bucket/raw")
    put(bucket, "raw/x.csv", "new and longer\n")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(copies, "write_json", killed)
        copies.local("s3://bucket/raw")
    assert copied(place) == {"x.csv": "new and longer\n"}
    copies.local("s3://bucket/raw")
    assert fetches.count("s3://bucket/raw/x.csv") == 3


def test_copies_are_told_with_their_last_use_and_can_be_forgotten(bucket):
    put(bucket, "raw/x.csv")
    place = copies.local("s3://bucket/raw/x.csv")
    note = place.with_name(".x.csv.object.json")
    os.utime(note, (0, 0))
    assert [*copies.fetched()] == [(place, 0.0)]
    copies.local("s3://bucket/raw/x.csv")
    ((_, used),) = copies.fetched()
    assert used > 0
    assert copies.forget(place)
    assert not place.exists() and not [*copies.fetched()]


def test_an_upload_is_whole_and_can_be_fetched(bucket, tmp_path):
    (tmp_path / "table").write_bytes(os.urandom(3 << 20))
    address = Address.of("s3://bucket/out").below("deep/table")
    store.Store(address).put(tmp_path / "table", address)
    assert sha256_of(copies.local("s3://bucket/out/deep/table")) == sha256_of(tmp_path / "table")


# What goes wrong.


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (f"s3://{KEY}:{SECRET}@bucket/raw", r"^s3://\.\.\.: the address holds a secret"),
        ("s3://ada@bucket/raw", r"^s3://\.\.\.: the address holds a secret"),
        ("s3://bucket/x.csv?X-Amz-Signature=abc", r"^s3://\.\.\.: the address holds a secret"),
        ("s3:///raw", "names no bucket"),
        ("ftp://bucket/raw", "ftp://: is no address of an object store; allowed are s3://BUCKET/NAME"),
        (
            "gs://bucket/raw",
            "gs://bucket/raw: gcsfs is not installed; run `pip install gcsfs --constraint constraints.txt`",
        ),
        ("abfs://box@account.dfs.core.windows.net/raw", "adlfs is not installed; run `pip install adlfs --constraint"),
    ],
)
def test_an_address_that_is_not_allowed_is_refused_before_anything_is_asked(monkeypatch, address, message):
    def absent(package):
        raise ImportError(package)

    monkeypatch.setattr(store, "import_module", absent)  # whatever is installed here
    with pytest.raises(ConfigError, match=message) as refused:
        copies.local(address)
    assert SECRET not in str(refused.value) and KEY not in str(refused.value)


def test_nothing_there_is_said(bucket):
    put(bucket, "raw/x.csv")
    with pytest.raises(SourceError, match=r"^s3://bucket/rax: there is no such object, and none below it$"):
        copies.local("s3://bucket/rax")
    with pytest.raises(SourceError, match=r"^s3://buckets/raw: there is no such object or bucket \(404\)$"):
        copies.local("s3://buckets/raw")


@pytest.mark.parametrize("name", ["raw/../../x.csv", "raw//x.csv", "raw/.hidden", "raw/./x.csv"])
def test_an_object_whose_name_leads_elsewhere_is_refused(bucket, name):
    with pytest.raises(SourceError, match="its name cannot be that of a file; rename the object"):
        copies.place_of(Address("s3", "bucket", name))


def test_missing_credentials_are_said(bucket, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(SourceError, match="no credentials were found; give them by variables or a profile"):
        copies.local("s3://bucket/raw")


def test_a_store_that_is_away_is_said(login, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match=r"s3://bucket/raw: nobody answers where the store should be"):
        copies.local("s3://bucket/raw")


def refused_403(request):
    body = "<Error><Code>AccessDenied</Code><Message>not you</Message></Error>"
    request.say(403, body.encode(), {"Content-Type": "application/xml"})


def cut_short(request):
    request.say(200, b"x" * 40, {"Content-Length": "100", "ETag": '"0123"'})
    request.close_connection = True


def too_short(request):
    request.say(200, b"x" * 40, {"ETag": '"0123"'})


def another(request):
    request.say(412, b"<Error><Code>PreconditionFailed</Code></Error>", {"Content-Type": "application/xml"})


def telling_secrets(request):
    body = f"<Error><Code>Odd</Code><Message>{KEY} {SECRET} http://h/p?X-Amz-Signature=1</Message></Error>"
    request.say(400, body.encode(), {"Content-Type": "application/xml"})


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (refused_403, r"access is refused \(403\); check the credentials and their rights"),
        (cut_short, "the store answered wrongly|40 of 100 bytes came; try again"),
        (too_short, "40 of 100 bytes came; try again"),
        (another, "the store answered wrongly|changed while it was fetched"),
        (telling_secrets, r"the store answered wrongly \(.*\*\*\* \*\*\* http://h/p\)"),
    ],
)
def test_an_answer_that_is_wrong_leaves_no_copy_and_no_secret(strange, monkeypatch, answer, message):
    monkeypatch.setattr(store, "TRIES", 1)
    strange.answer = answer
    with pytest.raises(SourceError, match=f"^s3://bucket/raw/x.csv: ({message})") as refused:
        copies.local("s3://bucket/raw")
    assert SECRET not in str(refused.value) and KEY not in str(refused.value)
    assert not copied(paths.OBJECTS)


def test_a_store_that_is_silent_is_given_up(strange, monkeypatch):
    monkeypatch.setattr(store, "TRIES", 1)
    monkeypatch.setattr(store, "SECONDS", 0.3)
    answered = threading.Event()
    strange.answer = lambda request: answered.wait(20)
    with pytest.raises(SourceError, match=r"s3://bucket/raw/x.csv: the store did not answer within 0.3 s; try again"):
        copies.local("s3://bucket/raw")
    answered.set()
    assert not copied(paths.OBJECTS)
