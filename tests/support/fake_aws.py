"""AWS for tests: moto's server, and here alone what moto lacks or does otherwise than AWS (see ``PINNED``).

Lifecycle hooks hold, targets have states that move, tags are judged, a group's tag lies over its template's, Route 53
takes and refuses changes as AWS does, suspended launches launch nothing, activities are written down. It works on
moto's internals, in the process that moto's server runs in; the product is not touched and finds it by
``AWS_ENDPOINT_URL``.
"""

from __future__ import annotations

import copy
import functools
import re
import socket
import threading
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Self
from unittest.mock import patch

import boto3
from botocore.config import Config
from moto.autoscaling import models as autoscaling
from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.responses.tags import TagResponse
from moto.elbv2 import models as elbv2
from moto.elbv2.exceptions import InvalidTargetError, TargetGroupNotFoundError, TargetNotRunning
from moto.moto_api._internal.models import moto_api_backend
from moto.route53 import models as route53
from moto.route53.exceptions import Route53ClientError
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from support.aws_gate import SETUP_KEY, Call, Gate
from support.aws_server import VARIABLES, without_images
from support.metadata_server import Answer, MetadataServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PINNED = "5.2.5"  # of moto; tests/test_fake_aws.py says what to look at when it changes
ACCOUNT = "123456789012"
REGION = "eu-west-1"
IMAGE = "ami-12345678"
_TARGET_STATE = "/latest/meta-data/autoscaling/target-lifecycle-state"
_METADATA_KEY = re.compile(r"[0-9a-zA-Z\-_+=,.@:]{1,255}")
_NO_ACTION = "No active Lifecycle Action found with instance ID {}"
_REASONS = {
    "initial": "Elb.RegistrationInProgress",
    "unhealthy": "Target.FailedHealthChecks",
    "draining": "Target.DeregistrationInProgress",
    "unused": "Target.NotRegistered",
    "healthy": None,
}


@dataclass(kw_only=True)
class Target:
    """One (id, port) of a target group."""

    state: str
    reason: str | None = None
    draining_since: float | None = None


@dataclass(frozen=True, kw_only=True)
class Hook:
    name: str
    transition: Literal["launching", "terminating"]
    heartbeat_s: int = 3600
    default: Literal["ABANDON", "CONTINUE"] = "ABANDON"


@dataclass(kw_only=True)
class _Action:
    """A lifecycle action that somebody must complete."""

    state: autoscaling.InstanceState
    hook: autoscaling.LifecycleHook
    token: str
    until: float
    decrement: bool = False


@dataclass
class FakeAws:
    """A context manager around the session's server: everything is forgotten when it is entered."""

    server: _Server
    health: Literal["at-once", "by-word", "by-check"] = "at-once"  # how a registered target becomes healthy
    metadata_tags: bool = True  # instances have their tags in metadata, so keys must be legal there
    addresses: dict[str, str] = field(default_factory=dict)  # where a target is checked, by id; else 127.0.0.1

    def __enter__(self) -> Self:
        self._lock = threading.RLock()
        self._offset = 0.0
        self._stopped: float | None = None
        self._targets: dict[str, dict[tuple[str, int], Target]] = {}
        self._actions: list[_Action] = []
        self.activities: list[dict[str, Any]] = []
        self._patches = ExitStack()
        moto_api_backend.reset()
        self.server.gate.forget()
        for owner, name, replacement in _patches(self):
            self._patches.enter_context(patch.object(owner, name, replacement, create=not hasattr(owner, name)))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()

    # --- how the product and the test reach it

    @property
    def gate(self) -> Gate:
        """The journal of calls, and what is denied, throttled or broken."""
        return self.server.gate

    @property
    def calls(self) -> list[Call]:
        return self.gate.calls

    @property
    def environ(self) -> dict[str, str]:
        """What the product needs in its environment to find it."""
        return VARIABLES | {"AWS_ENDPOINT_URL": self.server.endpoint, "AWS_EC2_METADATA_DISABLED": "true"}

    def client(self, service: str) -> Any:
        """For the test's own calls, which stand in no journal and are never refused."""
        return _client(service, self.server.endpoint)

    # --- time

    def now(self) -> float:
        real = time.monotonic() if self._stopped is None else self._stopped
        return real + self._offset

    def stop_clock(self) -> None:
        """From now on time passes only by ``pass_time``."""
        self._stopped = time.monotonic()

    def pass_time(self, seconds: float) -> None:
        with self._lock:
            self._offset += seconds
            self._expire()

    # --- things

    def make_box(self, tags: dict[str, str] | None = None) -> str:
        """An instance of no group."""
        specification = {"ResourceType": "instance", "Tags": _pairs(tags or {})}
        answer = self.client("ec2").run_instances(
            ImageId=IMAGE, MinCount=1, MaxCount=1, TagSpecifications=[specification] if tags else []
        )
        return str(answer["Instances"][0]["InstanceId"])

    def make_group(
        self,
        name: str = "boxes",
        *hooks: Hook,
        size: int = 1,
        tags: dict[str, str] | None = None,
        template_tags: dict[str, str] | None = None,
        target_groups: Iterable[str] = (),
    ) -> list[str]:
        """An Auto Scaling group with its boxes, whose ids are the answer."""
        specification = [{"ResourceType": "instance", "Tags": _pairs(template_tags)}] if template_tags else []
        self.client("ec2").create_launch_template(
            LaunchTemplateName=name, LaunchTemplateData={"ImageId": IMAGE, "TagSpecifications": specification}
        )
        self.client("autoscaling").create_auto_scaling_group(
            AutoScalingGroupName=name,
            LaunchTemplate={"LaunchTemplateName": name, "Version": "$Latest"},
            MinSize=0,
            MaxSize=max(10, size),
            DesiredCapacity=size,
            AvailabilityZones=[f"{REGION}a"],
            TargetGroupARNs=list(target_groups),
            Tags=[{"ResourceId": name, "PropagateAtLaunch": True, **pair} for pair in _pairs(tags or {})],
            LifecycleHookSpecificationList=[_specify(hook) for hook in hooks],
        )
        return self.boxes(name)

    def add_hook(self, group: str, hook: Hook) -> None:
        self.client("autoscaling").put_lifecycle_hook(AutoScalingGroupName=group, **_specify(hook))

    def boxes(self, group: str) -> list[str]:
        """The instances of a group, oldest first."""
        return [state.instance_id for state in _autoscaling().autoscaling_groups[group].instance_states]

    def make_target_group(
        self,
        name: str,
        port: int = 80,
        *,
        delay_s: int = 300,
        target_type: str = "instance",
        attached: bool = True,
        **more: Any,
    ) -> str:
        """Its ARN; ``attached`` to a load balancer, without which AWS sends it no requests."""
        client = self.client("elbv2")
        vpc = self.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
        options = {} if target_type == "lambda" else {"Protocol": "HTTP", "Port": port, "VpcId": vpc}
        options |= {"Name": name, "TargetType": target_type} | more
        arn = client.create_target_group(**options)["TargetGroups"][0]["TargetGroupArn"]
        if target_type != "lambda":
            attribute = {"Key": "deregistration_delay.timeout_seconds", "Value": str(delay_s)}
            client.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[attribute])
        if attached:
            _elbv2().target_groups[arn].load_balancer_arns.append(f"{arn}/balancer")
        return str(arn)

    def make_zone(self, name: str, *, private: bool = False) -> str:
        config = {"HostedZoneConfig": {"PrivateZone": True}, "VPC": {"VPCRegion": REGION, "VPCId": "vpc-1"}}
        options = config if private else {}
        zone = self.client("route53").create_hosted_zone(Name=name, CallerReference=f"{time.time_ns()}", **options)
        return str(zone["HostedZone"]["Id"])

    def records(self, name: str) -> dict[str | None, list[str]]:
        """Set identifier → addresses of one name, over all zones."""
        zones = _route53().zones.values()
        return {
            one.set_identifier: list(one.records) for zone in zones for one in zone.rrsets if one.name == f"{name}."
        }

    @contextmanager
    def metadata_of(self, instance_id: str) -> Iterator[BoxMetadata]:
        """The metadata service of one box: its tags are those in EC2, its target state is its group's."""
        with BoxMetadata(aws=self, instance_id=instance_id, region=REGION, address="127.0.0.1") as server:
            yield server

    # --- states

    def tags_of(self, instance_id: str) -> dict[str, str]:
        return {tag["key"]: tag["value"] for tag in _ec2().get_instance(instance_id).get_tags()}

    def lifecycle_state(self, instance_id: str) -> str | None:
        with self._lock:
            self._expire()
            state = _find_state(instance_id)
            return None if state is None else str(state.lifecycle_state)

    def set_lifecycle_state(self, instance_id: str, text: str) -> None:
        """What AWS comes to by ways that stand not here, such as a warm pool."""
        state = _find_state(instance_id)
        assert state is not None, f"{instance_id} is in no group"
        state.lifecycle_state = text

    def hold(self, instance_id: str, hook: str) -> None:
        """Have a hook wait for this box, as it does again when it leaves a warm pool."""
        state = _find_state(instance_id)
        assert state is not None, f"{instance_id} is in no group"
        self._begin_action(state, _autoscaling().lifecycle_hooks[f"{state.auto_scaling_group_name}_{hook}"])

    def terminate(self, instance_id: str, *, decrement: bool = True) -> None:
        """What a scale-in does: a terminating hook holds it up."""
        self.client("autoscaling").terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=decrement
        )

    def replace_unhealthy(self) -> list[str]:
        """What Auto Scaling does from time to time; the answer is whom it has begun to terminate."""
        with self._lock:
            begun = []
            for group in _autoscaling().autoscaling_groups.values():
                if _suspended(group) & {"ReplaceUnhealthy", "Terminate"}:
                    continue
                ill = [s for s in group.instance_states if s.health_status == "Unhealthy"]
                ill = [s for s in ill if not s.lifecycle_state.startswith("Terminating")]
                begun += [state.instance_id for state in ill]
        for instance_id in begun:
            self.terminate(instance_id, decrement=False)
        return begun

    def target_state(self, group_arn: str, target: str, port: int) -> str:
        with self._lock:
            return self._state_of(_elbv2().target_groups[group_arn], (target, port))[0]

    def set_target(self, group_arn: str, target: str, port: int, state: str, reason: str | None = None) -> None:
        """The test's word, whatever ``health`` says; for others than the box under test, registers them too."""
        with self._lock:
            word = Target(state=state, reason=reason or _REASONS.get(state))
            self._targets.setdefault(group_arn, {})[target, port] = word

    def targets(self, group_arn: str) -> dict[tuple[str, int], str]:
        """(id, port) → state, of all that are registered or draining: what a load balancer goes by."""
        with self._lock:
            group = _elbv2().target_groups[group_arn]
            keys = list(self._targets.get(group_arn, {}))
            states = {key: self._state_of(group, key)[0] for key in keys}
            return {key: state for key, state in states.items() if key in self._targets[group_arn]}

    # --- Auto Scaling

    def _launched(self, group: Any, states: list[Any], tags: dict[str, str]) -> None:
        for state in states:
            _ec2().create_tags([state.instance_id], tags)  # on the same key AWS keeps the group's
            self._log(group, f"Launching a new EC2 instance: {state.instance_id}", "an instance was started")
            hooks = _hooks_of(group.name, "autoscaling:EC2_INSTANCE_LAUNCHING")
            if hooks:
                state.lifecycle_state = "Pending:Wait"
                self._begin_action(state, hooks[0])

    def _begin_action(self, state: Any, hook: Any, *, decrement: bool = False) -> None:
        token = f"{len(self.activities):08d}-0000-0000-0000-{len(self._actions):012d}"
        until = self.now() + hook.heartbeat_timeout
        self._actions.append(_Action(state=state, hook=hook, token=token, until=until, decrement=decrement))

    def _terminate(self, original: Any, instance_id: str, *, decrement: bool) -> Any:
        state = _find_state(instance_id)
        if state is None:
            raise ValidationError(f"Instance Id not found - No managed instance found for instance ID {instance_id}")
        group = state.auto_scaling_group
        self._actions = [one for one in self._actions if one.state is not state]
        self._deregister_everywhere([instance_id])
        cause = "it was taken out of service in response to " + (
            "an EC2 health check" if state.health_status == "Unhealthy" else "a user request"
        )
        self._log(group, f"Terminating EC2 instance: {instance_id}", cause)
        hooks = _hooks_of(group.name, "autoscaling:EC2_INSTANCE_TERMINATING")
        if not hooks:
            return original(_autoscaling(), instance_id, decrement)
        state.lifecycle_state = "Terminating:Wait"
        self._begin_action(state, hooks[0], decrement=decrement)
        return autoscaling.TerminateInstanceActivity(state.instance, group.desired_capacity)

    def _complete(self, action: _Action, result: str) -> None:
        self._actions.remove(action)
        state, group = action.state, action.state.auto_scaling_group
        hooks = _hooks_of(group.name, action.hook.lifecycle_transition)
        later = hooks[hooks.index(action.hook) + 1 :] if action.hook in hooks else []
        if action.hook.lifecycle_transition.endswith("TERMINATING"):
            if later and result == "CONTINUE":
                self._begin_action(state, later[0], decrement=action.decrement)
            else:
                _original_terminate(_autoscaling(), state.instance_id, action.decrement)
        elif result == "ABANDON":
            self._log(group, f"Terminating EC2 instance: {state.instance_id}", "its launch was abandoned")
            _original_terminate(_autoscaling(), state.instance_id, False)  # noqa: FBT003 - moto's signature
        elif later:
            self._begin_action(state, later[0])
        else:
            state.lifecycle_state = "Warmed:Running" if state.lifecycle_state.startswith("Warmed") else "InService"
            _autoscaling().update_attached_target_groups(group.name)

    def _expire(self) -> None:
        for action in [one for one in self._actions if one.until <= self.now()]:
            self._complete(action, action.hook.default_result)

    def _find_action(self, response: Any) -> _Action:
        self._expire()
        group, hook = response._get_param("AutoScalingGroupName"), response._get_param("LifecycleHookName")
        instance_id, token = response._get_param("InstanceId"), response._get_param("LifecycleActionToken")
        if group not in _autoscaling().autoscaling_groups:
            raise ValidationError(f"AutoScalingGroup name not found - null - AutoScalingGroup '{group}' not found")
        for action in self._actions:
            is_named = instance_id == action.state.instance_id or token == action.token
            if is_named and (action.hook.name, action.state.auto_scaling_group_name) == (hook, group):
                return action
        raise ValidationError(_NO_ACTION.format(instance_id))

    def _log(self, group: Any, description: str, cause: str) -> None:
        now = datetime.now(UTC) + timedelta(seconds=self._offset)
        self.activities.append(
            {
                "ActivityId": f"activity-{len(self.activities)}",
                "AutoScalingGroupName": group.name,
                "Description": description,
                "Cause": f"At {now:%Y-%m-%dT%H:%M:%SZ} {cause}.",
                "StartTime": now,
                "EndTime": now,
                "StatusCode": "Successful",
                "Progress": 100,
                "Details": "{}",
            }
        )

    # --- target groups

    def _register(self, group: Any, targets: list[dict[str, Any]]) -> None:
        for target in targets:
            is_instance = target["Id"].startswith("i-")
            instance = _ec2().get_instance_by_id(target["Id"])
            if is_instance != (group.target_type == "instance") or (is_instance and instance is None):
                raise InvalidTargetError(f"The following targets are not valid: '{target['Id']}'")
            if instance is not None and instance.state != "running":
                raise TargetNotRunning(target["Id"])
        known = self._targets.setdefault(group.arn, {})
        for target in targets:
            key = (target["Id"], int(target.get("Port") or group.port))
            if key not in known or known[key].draining_since is not None:
                first = "healthy" if self.health == "at-once" else "initial"
                known[key] = Target(state=first, reason=_REASONS[first])

    def _deregister(self, arn: str, keys: Iterable[tuple[str, int]]) -> None:
        """Of one that is not registered AWS says nothing."""
        for key in keys:
            target = self._targets.get(arn, {}).get(key)
            if target is None or target.draining_since is not None:
                continue
            if _elbv2().target_groups[arn].load_balancer_arns:
                target.draining_since = self.now()
            else:
                del self._targets[arn][key]  # nothing can be under way

    def _deregister_everywhere(self, instance_ids: list[str]) -> None:
        for arn, targets in self._targets.items():
            self._deregister(arn, [key for key in list(targets) if key[0] in instance_ids])

    def _state_of(self, group: Any, key: tuple[str, int]) -> tuple[str, str | None]:
        target = self._targets.get(group.arn, {}).get(key)
        if target is not None and target.draining_since is not None:
            delay_s = float(group.attributes["deregistration_delay.timeout_seconds"])
            if self.now() < target.draining_since + delay_s:
                return "draining", _REASONS["draining"]
            del self._targets[group.arn][key]
            target = None
        if target is None:
            return "unused", _REASONS["unused"]
        if not group.load_balancer_arns:
            return "unused", "Target.NotInUse"
        if self.health == "by-check":
            self._check(group, key, target)
        return target.state, target.reason

    def _check(self, group: Any, key: tuple[str, int], target: Target) -> None:
        """One look decides: thresholds would only cost time."""
        host = self.addresses.get(key[0], "127.0.0.1")
        port = key[1] if group.health_check_port in {None, "traffic-port"} else int(group.health_check_port)
        if _answers(group.health_check_protocol, host, port, group.health_check_path or "/"):
            target.state, target.reason = "healthy", None
        elif target.state != "initial":
            target.state, target.reason = "unhealthy", _REASONS["unhealthy"]


@dataclass
class BoxMetadata(MetadataServer):
    """The metadata of a box that exists in moto; what a test puts into ``items`` goes before."""

    aws: FakeAws = None  # type: ignore[assignment] # dataclasses want a default after those of the base

    @property
    def tags(self) -> dict[str, str] | None:  # type: ignore[override] # read from EC2 at each request
        return self.aws.tags_of(self.instance_id) if self.aws.metadata_tags else None

    @tags.setter
    def tags(self, value: Any) -> None:
        pass  # the base sets its default

    def put(self, path: str, text: str | None) -> None:
        """Set or remove an item such as ``spot/instance-action``."""
        if text is None:
            self.items.pop(f"/latest/meta-data/{path}", None)
        else:
            self.items[f"/latest/meta-data/{path}"] = text

    def environ(self) -> dict[str, str]:
        """What the product needs to find it, and AWS."""
        return self.aws.environ | {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.endpoint,
        }

    def _give(self, path: str) -> Answer:
        if path == _TARGET_STATE and path not in self.items:
            state = _target_state_of(self.aws.lifecycle_state(self.instance_id))
            return Answer(status=404) if state is None else Answer(body=state.encode())
        return super()._give(path)


class _Server:
    """moto's server behind a gate, in a thread; one does for a whole session."""

    def __init__(self) -> None:
        self.gate = Gate(DomainDispatcherApplication(create_backend_app))
        self._server = make_server("127.0.0.1", 0, self.gate, threaded=True, request_handler=MotoRequestHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def fake_aws_server() -> Iterator[_Server]:
    """What ``FakeAws`` is made around."""
    with without_images():
        server = _Server()
        try:
            yield server
        finally:
            server.stop()


_original_launch = autoscaling.FakeAutoScalingGroup.replace_autoscaling_group_instances
_original_terminate = autoscaling.AutoScalingBackend.terminate_instance
_original_members = autoscaling.AutoScalingBackend.describe_auto_scaling_instances
_original_create_group = AutoScalingResponse.create_auto_scaling_group
_original_health = AutoScalingResponse.set_instance_health
_original_create_tags = TagResponse.create_tags


def _patches(aws: FakeAws) -> list[tuple[Any, str, Any]]:
    """Everything of moto's that is replaced while a ``FakeAws`` is in force."""
    return [*_group_patches(aws), *_call_patches(aws), *_target_patches(aws), *_other_patches(aws)]


def _group_patches(aws: FakeAws) -> list[tuple[Any, str, Any]]:
    def launch(group: Any, count: int, tags: dict[str, str]) -> None:
        with aws._lock:
            if "Launch" in _suspended(group):
                return
            before = len(group.instance_states)
            own = dict(tags)
            _original_launch(group, count, tags)
            aws._launched(group, group.instance_states[before:], own)

    def active(group: Any) -> list[Any]:
        return [s for s in group.instance_states if s.lifecycle_state.startswith(("Pending", "InService"))]

    def attach(backend: Any, name: str) -> None:
        group = backend.autoscaling_groups[name]
        for arn in group.target_group_arns:
            target_group = _elbv2().target_groups[arn]
            served = [s.instance_id for s in group.instance_states if s.lifecycle_state == "InService"]
            with aws._lock:
                aws._register(target_group, [{"Id": one} for one in served])

    def terminate(_: Any, instance_id: str, should_decrement: bool) -> Any:  # noqa: FBT001 - moto's signature
        with aws._lock:
            return aws._terminate(_original_terminate, instance_id, decrement=should_decrement)

    def members(backend: Any, instance_ids: list[str]) -> Any:
        with aws._lock:
            aws._expire()
            return _original_members(backend, instance_ids)

    return [
        (autoscaling.FakeAutoScalingGroup, "replace_autoscaling_group_instances", launch),
        (autoscaling.FakeAutoScalingGroup, "active_instances", active),
        (autoscaling.AutoScalingBackend, "update_attached_target_groups", attach),
        (autoscaling.AutoScalingBackend, "terminate_instance", terminate),
        (autoscaling.AutoScalingBackend, "describe_auto_scaling_instances", members),
    ]


def _call_patches(aws: FakeAws) -> list[tuple[Any, str, Any]]:
    def create_group(response: Any) -> Any:
        for hook in response._get_param("LifecycleHookSpecificationList", []):
            response.autoscaling_backend.create_lifecycle_hook(
                name=hook["LifecycleHookName"],
                as_name=response._get_param("AutoScalingGroupName"),
                transition=hook["LifecycleTransition"],
                timeout=hook.get("HeartbeatTimeout"),
                result=hook.get("DefaultResult"),
            )
        return _original_create_group(response)

    def set_health(response: Any) -> Any:
        instance_id = response._get_param("InstanceId")
        if _find_state(instance_id) is None:
            raise ValidationError(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")
        return _original_health(response)

    def heartbeat(response: Any) -> Any:
        with aws._lock:
            action = aws._find_action(response)
            action.until = aws.now() + action.hook.heartbeat_timeout
        return EmptyResult()

    def complete(response: Any) -> Any:
        with aws._lock:
            aws._complete(aws._find_action(response), response._get_param("LifecycleActionResult"))
        return EmptyResult()

    def activities(response: Any) -> Any:
        group = response._get_param("AutoScalingGroupName")
        with aws._lock:
            aws._expire()
            found = [one for one in reversed(aws.activities) if group in {None, one["AutoScalingGroupName"]}]
        return ActionResult({"Activities": found})

    return [
        (AutoScalingResponse, "create_auto_scaling_group", create_group),
        (AutoScalingResponse, "set_instance_health", set_health),
        (AutoScalingResponse, "record_lifecycle_action_heartbeat", heartbeat),
        (AutoScalingResponse, "complete_lifecycle_action", complete),
        (AutoScalingResponse, "describe_scaling_activities", activities),
    ]


def _target_patches(aws: FakeAws) -> list[tuple[Any, str, Any]]:
    def register(group: Any, targets: list[dict[str, Any]]) -> None:
        with aws._lock:
            aws._register(group, targets)

    def deregister(group: Any, targets: list[dict[str, Any]]) -> None:
        with aws._lock:
            aws._deregister(group.arn, [(t["Id"], int(t.get("Port") or group.port)) for t in targets])

    def deregister_terminated(_: Any, instance_ids: list[str]) -> None:
        with aws._lock:
            aws._deregister_everywhere(instance_ids)

    def target_health(backend: Any, target_group_arn: str, targets: list[dict[str, Any]]) -> list[Any]:
        group = backend.target_groups.get(target_group_arn)
        if group is None:
            raise TargetGroupNotFoundError
        with aws._lock:
            asked = [(t["Id"], int(t.get("Port") or group.port)) for t in targets]
            keys = asked or list(aws._targets.get(group.arn, {}))
            found = [(key, *aws._state_of(group, key)) for key in keys]
        return [
            elbv2.FakeHealthStatus(key[0], str(key[1]), str(key[1]), state, reason)
            for key, state, reason in found
            if asked or reason != "Target.NotRegistered"
        ]

    return [
        (elbv2.FakeTargetGroup, "register", register),
        (elbv2.FakeTargetGroup, "deregister", deregister),
        (elbv2.FakeTargetGroup, "deregister_terminated_instances", deregister_terminated),
        (elbv2.ELBv2Backend, "describe_target_health", target_health),
    ]


def _other_patches(aws: FakeAws) -> list[tuple[Any, str, Any]]:
    def create_tags(response: Any) -> Any:
        _judge_tags(response._get_param("Resources", []), response._get_param("Tags", []), aws)
        return _original_create_tags(response)

    def change_records(backend: Any, zoneid: str, change_list: list[dict[str, Any]]) -> None:
        with aws._lock:
            zone = backend.get_hosted_zone(zoneid)
            records = list(zone.rrsets)
            for change in copy.deepcopy(change_list):
                _change_record(zone, records, change["Action"], change["ResourceRecordSet"])
            zone.rrsets = records  # all or nothing

    return [
        (TagResponse, "create_tags", create_tags),
        (route53.Route53Backend, "change_resource_record_sets", change_records),
    ]


def _judge_tags(resources: list[str], tags: list[dict[str, str]], aws: FakeAws) -> None:
    """As CreateTags does; see "Tag restrictions" in the EC2 user guide."""
    for tag in tags:
        key, value = tag["Key"], tag.get("Value", "")
        if key.lower().startswith("aws:"):
            raise EC2ClientError("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
        if len(key) > 127:
            raise EC2ClientError("InvalidParameterValue", "Tag key exceeds the maximum length of 127 characters")
        if len(value) > 256:
            raise EC2ClientError("InvalidParameterValue", "Tag value exceeds the maximum length of 256 characters")
        if aws.metadata_tags and not _METADATA_KEY.fullmatch(key):
            raise EC2ClientError("InvalidParameterValue", f"'{key}' is not a valid tag key")
    for resource in resources:
        if resource.startswith("i-") and _ec2().get_instance_by_id(resource) is None:
            raise EC2ClientError("InvalidInstanceID.NotFound", f"The instance ID '{resource}' does not exist")


def _change_record(zone: Any, records: list[Any], verb: str, wanted: dict[str, Any]) -> None:
    """One change of a batch, as ChangeResourceRecordSets judges it."""
    name = wanted["Name"].lower().rstrip(".") + "."
    if not f".{name}".endswith(f".{zone.name}"):
        raise _bad_batch(f"RRSet with DNS name {name} is not permitted in zone {zone.name}")
    values = [one["Value"] for one in wanted.get("ResourceRecords", [])]
    new = route53.RecordSet(wanted | {"Name": name, "ResourceRecords": values})
    same_name = [one for one in records if (one.name, one.type) == (name, new.type)]
    same = next((one for one in same_name if one.set_identifier == new.set_identifier), None)
    what = f"[name='{name}', type='{new.type}', set-identifier='{new.set_identifier}']"
    if verb == "DELETE":
        if same is None:
            raise _bad_batch(f"Tried to delete resource record set {what} but it was not found")
        if (sorted(same.records), str(same.ttl)) != (sorted(values), str(new.ttl)):
            raise _bad_batch(
                f"Tried to delete resource record set {what} but the values provided do not match the current values"
            )
        records.remove(same)
        return
    if any((one.set_identifier is None) != (new.set_identifier is None) for one in same_name):
        raise _bad_batch(
            f"RRSet with DNS name {name}, type {new.type}, SetIdentifier {new.set_identifier} cannot be created as other "
            "RRSets exist with the same name and type"
        )
    if same is not None and verb == "CREATE":
        raise _bad_batch(f"Tried to create resource record set {what} but it already exists")
    if same is not None:
        records.remove(same)
    records.append(new)


def _bad_batch(message: str) -> Route53ClientError:
    return Route53ClientError("InvalidChangeBatch", message)


def _answers(protocol: str, host: str, port: int, path: str) -> bool:
    try:
        if protocol in {"HTTP", "HTTPS"}:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://{host}:{port}{path}", timeout=2) as response:
                return bool(response.status == 200)
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:  # an answer of 4xx or 5xx too: urllib's HTTPError is one
        return False


def _target_state_of(state: str | None) -> str | None:
    """The state that a box is on its way to, as metadata has it."""
    if state is None:
        return None
    if state.startswith("Warmed:"):
        return "Warmed:Terminated" if "Terminat" in state else "Warmed:Running"
    if state.startswith("Terminat"):
        return "Terminated"
    return "Standby" if "Standby" in state else "InService"


def _specify(hook: Hook) -> dict[str, Any]:
    return {
        "LifecycleHookName": hook.name,
        "LifecycleTransition": f"autoscaling:EC2_INSTANCE_{hook.transition.upper()}",
        "HeartbeatTimeout": hook.heartbeat_s,
        "DefaultResult": hook.default,
    }


def _hooks_of(group: str, transition: str) -> list[Any]:
    hooks = _autoscaling().lifecycle_hooks.values()
    return [h for h in hooks if (h.auto_scaling_group_name, h.lifecycle_transition) == (group, transition)]


def _find_state(instance_id: str) -> Any:
    states = (s for group in _autoscaling().autoscaling_groups.values() for s in group.instance_states)
    return next((state for state in states if state.instance_id == instance_id), None)


def _suspended(group: Any) -> set[str]:
    return {one["ProcessName"] for one in group.suspended_processes}


def _pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _ec2() -> Any:
    return ec2_backends[ACCOUNT][REGION]


def _autoscaling() -> Any:
    return autoscaling.autoscaling_backends[ACCOUNT][REGION]


def _elbv2() -> Any:
    return elbv2.elbv2_backends[ACCOUNT][REGION]


def _route53() -> Any:
    return route53.route53_backends[ACCOUNT]["aws"]


@functools.cache
def _client(service: str, endpoint: str) -> Any:
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id=SETUP_KEY,
        aws_secret_access_key="testing",
        config=Config(retries={"total_max_attempts": 1}),
    )
