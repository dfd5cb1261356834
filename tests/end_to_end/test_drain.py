"""Two boxes behind a load balancer, replaced one after the other under load: nobody sees an error."""

from __future__ import annotations

import json
import sys

import pytest

from support.balancer import Balancer, Load
from support.chance import LONG
from support.instance import Ec2Box
from support.namespaces import AWS, METADATA, Namespace
from support.sandbox import Sandbox, wait_until

DRAINS = 100 if LONG else 20
PER_S = 200
PORT = 8001
SERVER = """\
import asyncio, signal, sys

async def answer(reader, writer):
    try:
        await reader.readuntil(b"\\r\\n\\r\\n")
        await asyncio.sleep(0.03)
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\nConnection: close\\r\\n\\r\\nok\\n")
        await writer.drain()
    except (OSError, EOFError):
        pass
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "0.0.0.0", 8001, backlog=128)
    await server.serve_forever()

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # at once: whatever is still under way is lost
asyncio.run(main())
"""


class Box(Ec2Box):
    """In a namespace of its own."""

    def __init__(self, directory, aws, instance_id, namespace) -> None:
        super().__init__(Sandbox(directory), aws, instance_id)
        self._namespace = namespace
        folder = self.sandbox.service(
            "api",
            json.dumps(
                {
                    "processes": {
                        "web": {"command": f"exec {sys.executable} server.py", "port": PORT, "ready": {"http": "/"}}
                    }
                }
            ),
        )
        (folder / "server.py").write_text(SERVER)
        self.sandbox.words = lambda *words, **options: self._namespace.words(
            Sandbox.words(self.sandbox, *words, **options)
        )

    def __enter__(self):
        super().__enter__()
        endpoint = self.metadata.endpoint.rpartition(":")[2]
        self._namespace.forward(METADATA, ("127.0.0.1", int(endpoint)))
        aws_port = int(self.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])
        self._namespace.forward(AWS, ("127.0.0.1", aws_port))
        self.environ |= {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{METADATA[0]}",
            "AWS_ENDPOINT_URL": f"http://{AWS[0]}:{AWS[1]}",
        }
        return self


@pytest.fixture
def boxes(aws, tmp_path):
    tags = {"bootstrap:mode": "production", "bootstrap:service": "api", "bootstrap:target-groups": "public"}
    group = aws.make_target_group("public", delay_s=1)
    ids = aws.make_group(size=2, template_tags=tags)
    with Namespace(1) as first, Namespace(2) as second:
        made = []
        for number, (instance_id, namespace) in enumerate(zip(ids, (first, second), strict=True)):
            (tmp_path / str(number)).mkdir()
            made.append(Box(tmp_path / str(number), aws, instance_id, namespace))
        addresses = {ids[0]: first.address, ids[1]: second.address}
        with made[0] as one, made[1] as two:
            yield group, addresses, (one, two)
            for box in made:
                box.sandbox.clean_up()


def test_no_request_fails_while_boxes_are_replaced_one_after_the_other(aws, boxes, tmp_path):
    group, addresses, (one, two) = boxes
    for box in (one, two):
        box.run("up")
    assert sorted(aws.targets(group).values()) == ["healthy", "healthy"]
    with (
        Balancer(tmp_path, addresses, lambda: aws.targets(group), PORT) as balancer,
        Load(balancer.port, PER_S) as load,
    ):
        wait_until(lambda: load.answers["200"] > PER_S / 4, "answers")
        load.answers.clear()  # haproxy had no server in its first moment
        for number in range(DRAINS):
            box = (one, two)[number % 2]
            box.sandbox.config("services/api/common/NUMBER", str(number))
            before = box.sandbox.pids()
            box.run("up")
            assert box.sandbox.pids() != before
    assert load.failed == {}, load.answers
    assert load.answers["200"] > DRAINS * PER_S / 4
