"""Objects of the state bucket, and writers that race for them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bootstrap.errors import Unavailable
from bootstrap.world.aws import DeniedError
from bootstrap.world.ec2.bucket import read_object, write_object

PLACE = {"bucket": "acme-state", "key": "boots/web.json"}


@pytest.fixture(autouse=True)
def s3(aws):
    client = aws.client("s3")
    client.create_bucket(Bucket="acme-state", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return client


def write(body, **options):
    return write_object(**PLACE, body=body, **options)


def etag():
    return read_object(**PLACE)["etag"]


def test_what_is_written_is_read():
    assert read_object(**PLACE) is None
    assert write("grün ☃\n")
    found = read_object(**PLACE)
    assert (found["body"], found["etag"][0]) == ("grün ☃\n", '"')


def test_only_the_first_writes_what_is_to_be_absent():
    assert write("one", only_if="absent")
    assert not write("two", only_if="absent")
    assert read_object(**PLACE)["body"] == "one"


def test_only_whoever_knows_the_present_one_replaces_it():
    write("one")
    before = etag()
    assert write("two", etag=before, only_if="etag")
    assert not write("three", etag=before, only_if="etag")
    assert read_object(**PLACE)["body"] == "two"


def test_what_is_gone_is_not_replaced(s3):
    write("one")
    before = etag()
    s3.delete_object(Bucket="acme-state", Key=PLACE["key"])
    assert not write("two", etag=before, only_if="etag")
    assert read_object(**PLACE) is None


def test_a_write_beside_another_has_lost(aws):
    aws.gate.fail("s3:PutObject", "ConditionalRequestConflict", status=409)
    assert not write("one", only_if="absent")
    assert read_object(**PLACE) is None


def test_of_many_writers_one_wins():
    begin = threading.Barrier(8)

    def race(number):
        begin.wait()
        return write(str(number), only_if="absent")

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, range(8)))
    assert won.count(True) == 1
    assert read_object(**PLACE)["body"] == str(won.index(True))


def test_a_comparison_needs_something_to_compare_with():
    with pytest.raises(ValueError, match="etag"):
        write("one", only_if="etag")
    with pytest.raises(ValueError, match="sometimes"):
        write("one", only_if="sometimes")


def test_an_object_that_is_far_too_large_is_not_read(s3, monkeypatch):
    monkeypatch.setattr("bootstrap.world.ec2.bucket._LARGEST", 3)
    s3.put_object(Bucket="acme-state", Key=PLACE["key"], Body=b"1234")
    with pytest.raises(Unavailable) as caught:
        read_object(**PLACE)
    assert str(caught.value) == (
        'cannot read "s3://acme-state/boots/web.json": it is larger than 3 bytes\n  way out: remove it'
    )


def test_a_denied_call_names_action_and_object(aws):
    aws.gate.deny("s3:GetObject", "s3:PutObject")
    way_out = (
        "on arn:aws:s3:::acme-state/boots/web.json to the role of this machine, as statement {} of "
        "image/iam/policy.json does"
    )
    with pytest.raises(DeniedError) as reading:
        read_object(**PLACE)
    assert str(reading.value) == (
        'cannot read "s3://acme-state/boots/web.json": access denied (AccessDenied)\n'
        f"  way out: grant s3:GetObject {way_out.format('ReadObjects')}"
    )
    with pytest.raises(DeniedError) as writing:
        write("one", only_if="absent")
    assert str(writing.value) == (
        'cannot write "s3://acme-state/boots/web.json": access denied (AccessDenied)\n'
        f"  way out: grant s3:PutObject {way_out.format('WriteState')}"
    )


def test_a_bucket_that_does_not_exist_is_an_error_and_no_lost_race():
    for call in (read_object, lambda **place: write_object(**place, body="x", only_if="absent")):
        with pytest.raises(Unavailable, match="AWS answered NoSuchBucket to s3:"):
            call(bucket="acme-nowhere", key="k")


def test_a_busy_bucket_is_tried_again(aws):
    aws.gate.fail("s3:PutObject", "SlowDown", status=503, times=2)
    assert write("one", only_if="absent")
