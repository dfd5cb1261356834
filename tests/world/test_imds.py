from __future__ import annotations

import socket
import time

import pytest

from bootstrap.errors import TagError, Unavailable
from bootstrap.world import clock
from bootstrap.world.imds import IPV4, IPV6, MetadataService, is_ec2, metadata_endpoint
from support.clock import FakeClock
from support.metadata_server import TAGS, TOKEN, Answer, MetadataServer

ID = "/latest/meta-data/instance-id"
WAY_OUT = "\n  way out: give the tags with --tag or --tags-file; AWS_EC2_METADATA_DISABLED=true skips instance metadata"
BUSY = Answer(status=503, body=b"<h1>503 - Service Unavailable</h1>")


@pytest.fixture
def server():
    with MetadataServer(tags={}) as server:
        yield server


@pytest.fixture
def fake():
    return FakeClock()


@pytest.fixture
def service(server, fake):
    service = MetadataService(server.endpoint, deadline=fake.now() + 30, timeout_s=5, clock=fake)
    yield service
    service.close()


def failure(path, cause, server):
    return f'cannot read instance metadata "{path}": {cause}\n  at {server.endpoint}{WAY_OUT}'


def test_one_token_and_one_connection_serve_every_read(server, service):
    assert service.read_instance_id() == "i-0123456789abcdef0"
    assert service.read_region() == "eu-west-1"
    assert server.paths() == ["api/token", "meta-data/instance-id", "meta-data/placement/region"]
    assert len({request.connection for request in server.requests}) == 1
    put = server.requests[0]
    assert put.method == "PUT"
    assert put.headers["x-aws-ec2-metadata-token-ttl-seconds"] == "21600"


def test_a_token_is_renewed_a_minute_before_it_ends(server, service, fake):
    service.read_instance_id()
    fake.time += 21_600 - 61
    service.read_instance_id()
    assert server.paths().count("api/token") == 1
    fake.time += 1
    service.read_instance_id()
    assert server.paths().count("api/token") == 2


def test_a_token_that_expired_early_is_replaced_once(server, service):
    service.read_instance_id()
    server.expire_tokens()
    assert service.read_instance_id() == "i-0123456789abcdef0"
    assert server.paths()[2:] == ["meta-data/instance-id", "api/token", "meta-data/instance-id"]


def test_a_second_401_is_an_error_and_no_loop(server, service):
    server.script(ID, Answer(status=401), Answer(status=401))
    with pytest.raises(Unavailable) as error:
        service.read_instance_id()
    assert str(error.value) == failure("meta-data/instance-id", "a new token was refused too (401)", server)
    assert len(server.requests) == 4


def test_404_is_absent_and_not_asked_again(server, service):
    assert service.read("meta-data/spot/instance-action") is None
    assert server.paths() == ["api/token", "meta-data/spot/instance-action"]


def test_an_instance_without_an_id_is_an_error(server, service):
    server.script(ID, Answer(status=404))
    with pytest.raises(Unavailable) as error:
        service.read_instance_id()
    assert str(error.value) == failure("meta-data/instance-id", "the service does not have it (404)", server)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (Answer(status=403), "instance metadata is switched off (403)"),
        (Answer(status=400), "it answered 400"),
        (Answer(status=302, headers=(("Location", "http://127.0.0.1:1/"),)), "it answered 302"),
        (Answer(body=b"x" * 65_537), "the answer is longer than 65536 bytes"),
    ],
)
def test_what_cannot_get_better_is_told_at_once(server, service, fake, answer, cause):
    server.script(ID, answer)
    with pytest.raises(Unavailable) as error:
        service.read_instance_id()
    assert str(error.value) == failure("meta-data/instance-id", cause, server)
    assert fake.slept == []


@pytest.mark.parametrize("status", [403, 404])
def test_a_refused_token_request_is_told_at_once(server, service, fake, status):
    server.script(TOKEN, Answer(status=status))
    with pytest.raises(Unavailable) as error:
        service.read_instance_id()
    cause = {403: "instance metadata is switched off (403)", 404: "it answered 404"}[status]
    assert str(error.value) == failure("api/token", cause, server)
    assert fake.slept == []


def test_a_page_instead_of_a_token_never_reaches_a_header(server, service):
    server.script(TOKEN, Answer(body=b"<html>\r\nX-Evil: yes\r\n</html>"))
    with pytest.raises(Unavailable) as error:
        service.read_instance_id()
    assert str(error.value) == failure("api/token", "the answer is no token", server)


@pytest.mark.parametrize("path", [TOKEN, ID])
def test_503_is_tried_again_with_pauses(server, service, fake, path):
    server.script(path, BUSY, BUSY, BUSY)
    assert service.read_instance_id() == "i-0123456789abcdef0"
    assert len(fake.slept) == 3
    assert all(0 <= pause <= 0.1 * 2**n for n, pause in enumerate(fake.slept))


def test_503_until_the_deadline_is_unavailable(server, service, fake):
    server.script(ID, *[BUSY] * 1000)
    with pytest.raises(Unavailable) as error:
        service.read_instance_id()
    assert str(error.value) == failure("meta-data/instance-id", "it answered 503", server)
    assert fake.now() == pytest.approx(1030)


def test_a_refused_connection_is_tried_again_until_somebody_listens(fake):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        service = MetadataService(endpoint, deadline=fake.now() + 5, clock=fake)
        with pytest.raises(Unavailable) as error:
            service.read_instance_id()
    assert str(error.value) == (
        f'cannot read instance metadata "meta-data/instance-id": the connection was refused\n  at {endpoint}{WAY_OUT}'
    )
    assert fake.now() == pytest.approx(1005)
    assert len(fake.slept) > 3


@pytest.mark.parametrize("path", [TOKEN, ID])
def test_a_service_that_hangs_is_asked_again(server, fake, path):
    server.script(path, Answer(hang=True))
    service = MetadataService(server.endpoint, deadline=fake.now() + 30, timeout_s=0.1, clock=fake)
    assert service.read_instance_id() == "i-0123456789abcdef0"
    assert len(fake.slept) == 1
    service.close()


@pytest.mark.parametrize("answer", [Answer(hang=True), Answer(drip=True)])
def test_a_service_that_hangs_or_drips_until_the_deadline_is_unavailable(server, answer):
    server.script(ID, *[answer] * 1000)
    began = time.monotonic()
    service = MetadataService(server.endpoint, deadline=clock.now() + 0.3, timeout_s=0.1)
    with pytest.raises(Unavailable) as error:
        service.read_instance_id()
    assert str(error.value) == failure("meta-data/instance-id", "no answer within 0.1 s", server)
    assert time.monotonic() - began < 5
    service.close()


def test_a_connection_that_the_service_closed_is_opened_anew(server, service, fake):
    service.read_instance_id()
    server.script(ID, Answer(body=b"i-1", headers=(("Connection", "close"),)))
    assert [service.read_instance_id(), service.read_instance_id()] == ["i-1", "i-0123456789abcdef0"]
    assert len({request.connection for request in server.requests}) == 2


def test_an_answer_that_was_cut_short_is_no_value(server, service, fake):
    server.script(ID, Answer(body=b"i-01", cut_short=True))
    assert service.read_instance_id() == "i-0123456789abcdef0"
    assert len(fake.slept) == 1


def test_an_http_proxy_is_never_used(server, service, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    assert service.read_instance_id() == "i-0123456789abcdef0"


def test_tags_are_read_with_their_values_as_they_are(server, service):
    server.tags = {
        "Name": "box",
        "bootstrap:mode": "review",
        "bootstrap:ref": "feature/x y",
        "aws:autoscaling:groupName": "w%41b",
        "a+=,.@_-Z9": "ünï\nline two",
        "empty": "",
    }
    assert service.read_tags() == server.tags
    assert "meta-data/tags/instance/aws:autoscaling:groupName" in server.paths()
    assert "meta-data/tags/instance/a+=,.@_-Z9" in server.paths()


def test_a_list_that_ends_with_a_line_feed_has_no_empty_key(server, service):
    server.tags = {"Name": "box"}
    server.script(TAGS, Answer(body=b"Name\n"))
    assert service.read_tags() == {"Name": "box"}


def test_no_tags_and_tags_switched_off_are_different(server, service):
    assert service.read_tags() == {}
    server.tags = None
    assert service.read_tags() is None


def test_a_key_that_vanishes_between_list_and_read_has_the_list_read_once_more(server, service):
    server.tags = {"old": "1", "bootstrap:mode": "review"}
    server.drop_after_list("old")
    assert service.read_tags() == {"bootstrap:mode": "review"}
    assert server.paths().count("meta-data/tags/instance") == 2


def test_keys_that_keep_vanishing_are_left_out(server, service):
    server.tags = {"one": "1", "two": "2", "bootstrap:mode": "review"}
    server.drop_after_list("one")
    server.drop_after_list("two")
    assert service.read_tags() == {"bootstrap:mode": "review"}
    assert server.paths().count("meta-data/tags/instance") == 2


def test_a_path_in_the_endpoint_is_kept(server, fake):
    server.script("/mock/latest/api/token", Answer(body=b"t"))
    server.script("/mock/latest/meta-data/instance-id", Answer(body=b"i-7"))
    service = MetadataService(f"{server.endpoint}/mock/", deadline=fake.now(), clock=fake)
    assert service.read_instance_id() == "i-7"
    service.close()


@pytest.mark.parametrize(
    "endpoint",
    ["169.254.169.254", "https://169.254.169.254", "file:///etc/passwd", "http://", "http://h:x", "http://h?"],
)
def test_an_endpoint_that_is_no_address_is_refused(endpoint):
    if endpoint == "http://h?":
        endpoint += "a=b"
    with pytest.raises(TagError) as error:
        MetadataService(endpoint, deadline=0)
    assert str(error.value) == (
        f'cannot use AWS_EC2_METADATA_SERVICE_ENDPOINT "{endpoint}": should be like http://169.254.169.254\n'
        "  way out: unset it, or correct it"
    )


NITRO = {"sys_vendor": "Amazon EC2\n", "board_asset_tag": "i-0123456789abcdef0\n"}
XEN = {"sys_vendor": "Xen\n", "product_uuid": "EC2E1916-9099-7CAF-FD21-012345ABCDEF\n", "bios_version": "4.11.amazon\n"}


def firmware(directory, facts):
    for name, text in facts.items():
        (directory / name).write_text(text)
    return str(directory)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, False),
        (NITRO, True),
        ({"sys_vendor": "Amazon EC2\n"}, True),
        ({"board_asset_tag": "i-0123456789abcdef0\n"}, True),
        (XEN, True),
        ({"sys_vendor": "LENOVO\n", "product_uuid": "ec2e1916-9099-7caf-fd21-012345abcdef\n"}, False),
        ({"sys_vendor": "QEMU\n", "board_asset_tag": "none\n", "bios_vendor": "SeaBIOS\n"}, False),
    ],
)
def test_the_firmware_says_whether_this_is_ec2(tmp_path, facts, expected):
    assert is_ec2(firmware(tmp_path, facts)) is expected


@pytest.mark.parametrize(
    ("environ", "facts", "expected"),
    [
        ({}, {}, None),
        ({}, NITRO, IPV4),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6"}, NITRO, IPV6),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6"}, {}, None),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1338"}, {}, "http://127.0.0.1:1338"),
        ({"AWS_EC2_METADATA_DISABLED": "true"}, NITRO, None),
        ({"AWS_EC2_METADATA_DISABLED": "True", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"}, {}, None),
        ({"AWS_EC2_METADATA_DISABLED": "false"}, NITRO, IPV4),
    ],
)
def test_where_metadata_is_asked(tmp_path, environ, facts, expected):
    assert metadata_endpoint(environ, firmware(tmp_path, facts)) == expected


@pytest.mark.parametrize(
    ("date", "expected"),
    [(None, None), ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777.0), ("yesterday", None)],
)
def test_the_time_is_that_of_an_answer(server, service, date, expected):
    headers = () if date is None else (("Date", date),)
    server.script("/latest/meta-data/instance-id", Answer(body=b"i-1", headers=headers))
    assert service.read_time() == expected
