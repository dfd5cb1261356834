"""A box of EC2 in a temporary directory: a sandbox whose metadata and AWS are the fakes, and a `boot` that runs on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import ExitStack

from support.sandbox import wait_until

GROUP = "boxes"
BUCKET = "acme-state"


class Ec2Box:
    """One instance; ``aws`` is what it and the test see of AWS."""

    def __init__(self, sandbox, aws, instance_id) -> None:
        self.sandbox, self.aws, self.id = sandbox, aws, instance_id
        self.console = sandbox.root.parent / f"console-{instance_id}"
        self.console.touch()
        self.output = sandbox.root.parent / f"output-{instance_id}"
        self.child: subprocess.Popen[bytes] | None = None
        self._stack = ExitStack()

    def __enter__(self):
        self.metadata = self._stack.enter_context(self.aws.metadata_of(self.id))
        self.environ = self.metadata.environ() | {
            "BOOTSTRAP_CONSOLE": str(self.console),
            "BOOTSTRAP_METADATA_EVERY": "0.05",
            "BOOTSTRAP_STATUS_JITTER": "0",
            "BOOTSTRAP_TAG_TIMEOUT": "5",
        }
        return self

    def __exit__(self, *_):
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self._stack.close()

    def tag(self, **tags):
        """Set tags of ours: `service="api"`."""
        pairs = [{"Key": f"bootstrap:{key.replace('_', '-')}", "Value": value} for key, value in tags.items()]
        self.aws.client("ec2").create_tags(Resources=[self.id], Tags=pairs)

    def boot(self):
        """Start it; what it says goes into a file."""
        with open(self.output, "ab") as output:
            self.child = subprocess.Popen(
                self.sandbox.words("boot", tags=()),
                env=self.sandbox.environ | self.environ,
                cwd=self.sandbox.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.sandbox.started.append(self.child)
        return self

    def run(self, *arguments, code=0):
        return self.sandbox.run(*arguments, tags=(), code=code, environ=self.environ)

    def said(self):
        return self.output.read_text()

    def wait_for(self, text):
        """Until it has said so."""
        wait_until(lambda: text in self.said() or self.child.poll() is not None, text)
        assert text in self.said(), self.said()

    def wait_for_status(self, word):
        try:
            wait_until(lambda: self.status_tag() == word, f"status {word}")
        except AssertionError as error:
            error.add_note(f"it is {self.status_tag()}, and it said:\n{self.said()}")
            raise

    def status_tag(self):
        return self.aws.tags_of(self.id).get("bootstrap:status")

    def reason_tag(self):
        return self.aws.tags_of(self.id).get("bootstrap:status.reason")

    def finish(self, code=0, number=None):
        """Wait for its end; with a signal, ask for it."""
        if number is not None:
            os.kill(self.child.pid, number)
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired as error:
            error.add_note(f"it said:\n{self.said()}")
            raise
        assert self.child.returncode == code, self.said()
        return self.said()

    def stop(self):
        return self.finish(number=signal.SIGTERM)

    def console_lines(self):
        return self.console.read_text().replace("\r", "").splitlines()

    def reports(self):
        """The boot reports in the bucket, oldest first."""
        client = self.aws.client("s3")
        listed = client.list_objects_v2(Bucket=BUCKET, Prefix="reports/").get("Contents", [])
        return [json.loads(client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read()) for one in listed]


def make_bucket(aws):
    configuration = {"LocationConstraint": "eu-west-1"}
    aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=configuration)
