"""`source:` in S3: tarballs by version, with a digest beside each."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile

import boto3
import pytest

from bootstrap.errors import DefinitionError
from bootstrap.world import clock
from bootstrap.world.code import apart, unpacking
from bootstrap.world.code.unpacking import unpack
from support.aws_server import VARIABLES, forget_everything, moto_server
from support.origins import public_sandbox

DEFINITION = """\
source: {s3: s3://my-bucket/api}
processes:
  web:
    command: 'exec sleep 1000'
    ready: {alive: 0s}
"""
PLACE = "s3://my-bucket/api/"


@pytest.fixture(scope="module")
def moto_endpoint():
    with moto_server() as endpoint:
        yield endpoint


class Bucket:
    def __init__(self, endpoint):
        self.client = boto3.client("s3", endpoint_url=endpoint)
        self.client.create_bucket(
            Bucket="my-bucket", CreateBucketConfiguration={"LocationConstraint": VARIABLES["AWS_REGION"]}
        )

    def put(self, name, content):
        self.client.put_object(Bucket="my-bucket", Key=f"api/{name}", Body=content)

    def release(self, version, word, *, latest=True):
        """Upload a version; the answer is the name of its directory."""
        content = tarball(("word", word))
        self.digest = digest = hashlib.sha256(content).hexdigest()
        self.put(f"{version}.tar.gz", content)
        self.put(f"{version}.tar.gz.sha256", f"{digest}  {version}.tar.gz\n".encode())
        if latest:
            self.put("latest", f"{version}\n".encode())
        return f"{version}-{digest[:12]}"


def tarball(*files, **facts):
    """`name, content` pairs, or whole members."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for one in files:
            if isinstance(one, tarfile.TarInfo):
                tar.addfile(one)
                continue
            name, content = one
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            for fact, value in facts.items():
                setattr(member, fact, value)
            tar.addfile(member, io.BytesIO(content.encode()))
    return packed.getvalue()


@pytest.fixture
def bucket(moto_endpoint, monkeypatch):
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    forget_everything(moto_endpoint)
    return Bucket(moto_endpoint)


@pytest.fixture
def box(moto_endpoint):
    with public_sandbox() as made:
        made.environ |= {**VARIABLES, "AWS_ENDPOINT_URL": moto_endpoint}
        made.service("api", DEFINITION)
        yield made


def test_the_latest_version_runs_or_the_one_that_a_tag_names_and_a_new_upload_is_a_new_version(box, bucket):
    first = bucket.release("1.0", "one")
    box.run("up")
    assert box.checkout() == box.state / "code/api" / first
    assert (box.checkout() / "word").read_text() == "one"
    before = box.pids()
    assert box.run("up").stdout.startswith("nothing to do")
    assert box.pids() == before
    second = bucket.release("team/1.1", "two").replace("/", "_")
    done = box.run("up")
    reason = f"code is now team/1.1 (sha256 {second[-12:-4]}), was 1.0 (sha256 {first[-12:-4]})"
    assert f"replace api-web  {reason}\n" in done.stdout
    assert box.checkout().name == second
    box.run("up", tags=("mode=review", "ref.api=1.0"))
    assert box.checkout().name == first
    done = box.run("up", tags=("mode=review", "ref=9.9"), code=2)
    assert done.stderr == (
        'error: cannot use tag "bootstrap:ref": its source has no branch, tag, commit or version "9.9"\n'
        "  where: s3://my-bucket/api (api)\n"
        "  way out: push it there, or correct the tag\n"
    )
    again = bucket.release("1.0", "one and a half", latest=False)
    box.run("up", tags=("mode=review", "ref.api=1.0"))
    assert box.checkout().name == again


def test_a_damaged_tarball_is_refused_and_what_ran_goes_on(box, bucket):
    bucket.release("1.0", "one")
    box.run("up")
    before, versions = box.pids(), box.code()
    bucket.release("1.1", "two")
    bucket.put("1.1.tar.gz", b"not what was promised")
    found = hashlib.sha256(b"not what was promised").hexdigest()
    done = box.run("up", code=2)
    assert done.stderr == (
        f"error: cannot use tarball {PLACE}1.1.tar.gz: its SHA-256 is {found}, and {bucket.digest} was expected\n"
        f"  where: {PLACE}1.1.tar.gz.sha256\n"
        "  way out: upload both again, the digest last; what ran before still runs\n"
    )
    torn = tarball(("word", "x" * 10000))[:-30]
    bucket.put("1.1.tar.gz", torn)
    bucket.put("1.1.tar.gz.sha256", hashlib.sha256(torn).hexdigest().encode())
    done = box.run("up", code=2)
    assert done.stderr == (
        f"error: cannot unpack tarball {PLACE}1.1.tar.gz: Compressed file ended before the end-of-stream marker was "
        "reached\n"
        "  way out: make it anew and upload it again; what ran before still runs\n"
    )
    bucket.put("1.1.tar.gz.sha256", b"<html>")
    done = box.run("up", code=2)
    assert done.stderr == (
        f'error: cannot use the source of service "api": {PLACE}1.1.tar.gz.sha256: it should begin with a SHA-256 of '
        '64 hexadecimal digits, not "<html>"\n'
        "  way out: upload it, or name a version with a tag; what ran before still runs\n"
    )
    bucket.put("latest", b"../../x\n")
    done = box.run("up", code=2)
    assert done.stderr == (
        f'error: cannot use the source of service "api": {PLACE}latest: it should be one line that names a version, '
        'not "../../x"\n'
        "  way out: upload it, or name a version with a tag; what ran before still runs\n"
    )
    assert box.pids() == before
    assert box.code() == versions


def test_out_of_reach_it_stays_at_what_it_has_and_without_anything_says_so(box, bucket):
    version = bucket.release("1.0", "one")
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "BOOTSTRAP_SOURCE_TIMEOUT": "0.5"}
    done = box.run("up", code=75, environ=away)
    assert done.stderr == (
        'error: cannot fetch service "api": Could not connect to the endpoint URL: '
        '"http://127.0.0.1:1/my-bucket/api/latest" (for s3:GetObject)\n'
        "  where: s3://my-bucket/api (within 0.5 s), and this box has nothing of it that would do\n"
        "  way out: see that this machine reaches AWS and run the command again\n"
    )
    box.run("up")
    before = box.pids()
    done = box.run("up", environ=away)
    assert f"; it stays at 1.0 (sha256 {version[-12:-4]})\n" in done.stdout
    assert box.pids() == before
    box.run("down")
    box.run("up", tags=("mode=review", "ref=1.0"), environ=away)
    assert box.checkout().name == version


def member(name, kind, linkname="", size=0):
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, linkname, size
    return made


def unpack_bytes(directory, content, deadline_s=20.0):
    """Unpack as whoever a box would take for it; the directory may be entered by all."""
    file = directory / "a.tar.gz"
    file.write_bytes(content)
    target = directory / "out"
    apart.make_strangers(target, apart.read_stranger())
    descriptor = os.open(file, os.O_RDONLY)
    try:
        unpack(descriptor, str(target), apart.read_stranger(), clock.now() + deadline_s, "tarball a")
    finally:
        os.close(descriptor)
    return target


@pytest.fixture
def directory():
    with public_sandbox() as made:
        yield made.directory


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (tarball(("/etc/x", "")), 'it holds "/etc/x", which leads out of it'),
        (tarball(("a/../../x", "")), 'it holds "a/../../x", which leads out of it'),
        (tarball(("a/.GIT/config", "")), 'it holds "a/.GIT/config": a repository has no place in a tarball'),
        (tarball(member("d", tarfile.CHRTYPE)), 'it holds "d", which is neither a file nor a directory'),
        (tarball(member("f\x1b", tarfile.FIFOTYPE)), 'it holds "f\\x1b", which is neither a file nor a directory'),
        (tarball(member("h", tarfile.LNKTYPE, "/etc/shadow")), 'it holds "/etc/shadow", which leads out of it'),
        (
            tarball(member("big", tarfile.DIRTYPE, size=5 * 1024**3)),
            "it holds more than 1000000 files or 4294967296 bytes",
        ),
        (b"", "empty file"),
        (b"\x1f\x8b rubbish", "not a gzip file"),
    ],
    ids=["absolute", "above", "git", "device", "fifo", "hard link", "huge", "empty", "rubbish"],
)
def test_a_tarball_that_nobody_should_unpack_is_refused(directory, content, cause):
    with pytest.raises(DefinitionError) as refused:
        unpack_bytes(directory, content)
    assert str(refused.value) == (
        f"cannot unpack tarball a: {cause}\n  way out: make it anew and upload it again; what ran before still runs"
    )


def test_a_header_that_is_large_when_it_is_unpacked_takes_no_memory(directory, monkeypatch):
    monkeypatch.setattr(unpacking, "MOST_MEMORY", 8 * 1024**2)
    header = member("x", tarfile.XHDTYPE, size=32 * 1024**2)
    content = gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(32 * 1024**2), 1)
    with pytest.raises(DefinitionError) as refused:
        unpack_bytes(directory, content)
    assert str(refused.value) == (
        "cannot unpack tarball a: it takes more than 8388608 bytes of memory to unpack\n"
        "  way out: make it anew and upload it again; what ran before still runs"
    )


def test_nothing_is_written_through_a_link_and_no_odd_bit_survives(directory):
    outside = directory / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    content = tarball(member("a", tarfile.SYMTYPE, "../outside"), ("a/x", "x"), mode=0o6755)
    with pytest.raises(DefinitionError, match="File exists"):
        unpack_bytes(directory, content)
    assert not list(outside.iterdir())


def test_files_modes_and_links_arrive(directory):
    content = tarball(
        ("./bin/tool", "#!/bin/sh\n"),
        member("b", tarfile.SYMTYPE, "bin/tool"),
        member("c", tarfile.LNKTYPE, "./bin/tool"),
        mode=0o4755,
    )
    found = unpack_bytes(directory, content)
    assert (found / "b").read_text() == "#!/bin/sh\n"
    assert (found / "bin/tool").stat().st_mode == 0o100755
    assert (found / "c").samefile(found / "bin/tool")


def test_a_tarball_that_never_ends_is_ended(directory):
    read, write = os.pipe()
    try:
        target = directory / "out"
        apart.make_strangers(target, apart.read_stranger())
        with pytest.raises(DefinitionError, match="it takes too long to unpack"):
            unpack(read, str(target), apart.read_stranger(), clock.now() + 0.2, "tarball a")
    finally:
        os.close(read)
        os.close(write)
