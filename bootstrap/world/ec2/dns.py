"""This box's address under a name in Route 53.

Each box has a record of its own, a multivalue answer that is told apart by its set identifier ``<instance>.<region>``:
boxes that race never write the same record, so none can undo another's. Whoever comes removes the records of boxes of
its region that are gone; of other regions it can't know.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bootstrap.errors import TagError, Unavailable
from bootstrap.frozen import dataclass
from bootstrap.spelling import listed, quoted
from bootstrap.world import aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_route53 import Route53Client
    from mypy_boto3_route53.type_defs import (
        HostedZoneTypeDef,
        ListResourceRecordSetsResponseTypeDef,
        ResourceRecordSetOutputTypeDef,
    )

T = TypeVar("T")
TTL_S = 30
_PATIENCE_S = 60.0  # Route 53 takes five calls a second of a whole account
_WHERE = "  where: tag bootstrap:dns\n"
_ALIVE = ["pending", "running", "stopping", "stopped"]
_CHANGE = "route53:ChangeResourceRecordSets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A name with the zone that it lies in."""

    text: str
    zone_id: str
    zone: str


class Resolver:
    """The calls; Route 53 itself has no region, instances do."""

    def __init__(self, region: str | None) -> None:
        self._region = region
        self._client: Callable[[], Route53Client] = cache(
            lambda: aws.session().client("route53", region_name=region, config=aws.config())
        )
        self._ec2: Callable[[], EC2Client] = cache(
            lambda: aws.session().client("ec2", region_name=region, config=aws.config())
        )

    def find(self, text: str) -> Name:
        """Raises TagError where there is no zone for the name, or more than one."""

        def ask() -> list[HostedZoneTypeDef]:
            pages = self._client().get_paginator("list_hosted_zones").paginate()
            return [zone for page in pages for zone in page["HostedZones"]]

        failure = f"cannot find the hosted zone of DNS name {quoted(text)}"
        zones = aws.call("route53:ListHostedZones", failure, ask, patience_s=_PATIENCE_S)
        fitting = [zone for zone in zones if f".{text}.".endswith(f".{zone['Name']}")]
        longest = max((len(zone["Name"]) for zone in fitting), default=0)
        match [zone for zone in fitting if len(zone["Name"]) == longest]:
            case []:
                raise TagError(_describe_no_zone(text, zones))
            case [zone]:
                return Name(text=text, zone_id=_id_of(zone), zone=zone["Name"].rstrip("."))
            case several:
                raise TagError(_describe_several_zones(text, several))

    def give(self, name: Name, instance_id: str, address: str) -> None:
        """Have the name lead to this address too; raises TagError where something else has the name."""
        records = self._read_records(name)
        wanted = self._record(name, instance_id, address)
        _refuse_foreign(name, records, wanted["Type"])
        if not any(_content(one) == _content(wanted) for one in records):
            self._change(name, "UPSERT", wanted)
        self._remove_gone(name, [one for one in records if one.get("SetIdentifier") != wanted["SetIdentifier"]])

    def count_boxes(self, name: Name, address: str | None) -> int:
        """How many it leads to; raises TagError where something else has the name."""
        records = self._read_records(name)
        if address is not None:
            _refuse_foreign(name, records, _type_of(address))
        return sum(_is_multivalue(one) for one in records)

    def take(self, name: Name, instance_id: str) -> None:
        """Have it lead here no more; where it does not, nothing is done."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - only with AWS

        for is_last in (False, True):
            own = [one for one in self._read_records(name) if one.get("SetIdentifier") == self._identifier(instance_id)]
            try:
                for record in own:
                    self._change(name, "DELETE", record)
            except Unavailable as error:
                is_stale = isinstance(error.__cause__, ClientError) and _is_stale(error.__cause__)
                if is_last or not is_stale:
                    raise
            else:
                return

    def _read_records(self, name: Name) -> list[ResourceRecordSetOutputTypeDef]:
        """All records of the name, of whatever type."""

        def ask() -> list[ResourceRecordSetOutputTypeDef]:
            found: list[ResourceRecordSetOutputTypeDef] = []
            start: Any = {"StartRecordName": name.text}
            while start:
                page = self._client().list_resource_record_sets(HostedZoneId=name.zone_id, **start)
                found += [one for one in page["ResourceRecordSets"] if _plain(one["Name"]) == name.text]
                start = _next_start(page, name)
            return found

        return self._call("route53:ListResourceRecordSets", f"cannot read DNS name {quoted(name.text)}", name, ask)

    def _change(self, name: Name, action: Literal["UPSERT", "DELETE"], record: Any) -> None:
        verb = "add an address to" if action == "UPSERT" else "remove an address from"
        failure = f"cannot {verb} DNS name {quoted(name.text)}"
        changes: Any = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
        self._call(
            _CHANGE,
            failure,
            name,
            lambda: self._client().change_resource_record_sets(HostedZoneId=name.zone_id, ChangeBatch=changes),
        )

    def _remove_gone(self, name: Name, others: list[ResourceRecordSetOutputTypeDef]) -> None:
        """Best effort: the boxes that are gone can't do it, and none of ours needs it done."""
        by_id = {self._instance_of(one): one for one in others}
        by_id.pop(None, None)
        if not by_id:
            return
        try:
            alive = self._read_alive([instance_id for instance_id in by_id if instance_id is not None])
            for instance_id, record in by_id.items():
                if instance_id not in alive:
                    self._change(name, "DELETE", record)
        except Unavailable:
            return

    def _read_alive(self, instance_ids: list[str]) -> set[str]:
        """By filters: a list of ids would be refused for one that AWS has forgotten."""
        filters = [{"Name": "instance-id", "Values": instance_ids}, {"Name": "instance-state-name", "Values": _ALIVE}]

        def ask() -> set[str]:
            pages = self._ec2().get_paginator("describe_instances").paginate(Filters=filters)  # type: ignore[arg-type] # plain dicts
            return {one["InstanceId"] for page in pages for some in page["Reservations"] for one in some["Instances"]}

        return aws.call("ec2:DescribeInstances", "cannot read instances", ask)

    def _call(self, action: str, failure: str, name: Name, ask: Callable[[], T]) -> T:
        return aws.call(action, failure, ask, resource=f"hostedzone/{name.zone_id}", patience_s=_PATIENCE_S)

    def _record(self, name: Name, instance_id: str, address: str) -> dict[str, Any]:
        return {
            "Name": name.text,
            "Type": _type_of(address),
            "SetIdentifier": self._identifier(instance_id),
            "MultiValueAnswer": True,
            "TTL": TTL_S,
            "ResourceRecords": [{"Value": address}],
        }

    def _identifier(self, instance_id: str) -> str:
        return f"{instance_id}.{self._region}"

    def _instance_of(self, record: ResourceRecordSetOutputTypeDef) -> str | None:
        """Whose record it is, where it is one of ours and of this region."""
        instance_id, _, region = record.get("SetIdentifier", "").partition(".")
        return instance_id if instance_id.startswith("i-") and region == self._region else None


def _type_of(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def _refuse_foreign(name: Name, records: Iterable[ResourceRecordSetOutputTypeDef], kind: str) -> None:
    foreign = [one for one in records if one["Type"] in {kind, "CNAME"} and not _is_multivalue(one)]
    if foreign:
        raise TagError(_describe_foreign(name, foreign[0]))


def _is_multivalue(record: ResourceRecordSetOutputTypeDef) -> bool:
    return record.get("MultiValueAnswer", False) and record["Type"] != "CNAME"


def _is_stale(error: Any) -> bool:
    """Somebody has changed the record since it was read."""
    return error.response["Error"]["Code"] == "InvalidChangeBatch"  # type: ignore[no-any-return] # botocore's errors are untyped here


def _content(record: Any) -> tuple[Any, ...]:
    values = sorted(one["Value"] for one in record.get("ResourceRecords", []))
    return record["Type"], record.get("SetIdentifier"), record.get("TTL"), values


def _next_start(page: ListResourceRecordSetsResponseTypeDef, name: Name) -> dict[str, str] | None:
    """Where the next page begins, unless the name is over: records are sorted by it."""
    if not page["IsTruncated"] or _plain(page["NextRecordName"]) != name.text:
        return None
    start = {"StartRecordName": page["NextRecordName"], "StartRecordType": page["NextRecordType"]}
    identifier = page.get("NextRecordIdentifier")
    return start | ({"StartRecordIdentifier": identifier} if identifier else {})


def _plain(name: str) -> str:
    return name.replace("\\052", "*").rstrip(".").lower()


def _id_of(zone: HostedZoneTypeDef) -> str:
    return zone["Id"].removeprefix("/hostedzone/")


def _describe_no_zone(text: str, zones: Iterable[HostedZoneTypeDef]) -> str:
    names = listed({zone["Name"].rstrip(".") for zone in zones})
    return (
        f"cannot use DNS name {quoted(text)}: it lies in no hosted zone of this account (zones: {names})\n{_WHERE}"
        "  way out: correct the name, or create a zone"
    )


def _describe_several_zones(text: str, zones: Iterable[HostedZoneTypeDef]) -> str:
    words = sorted(
        f"{_id_of(zone)} ({'private' if zone.get('Config', {}).get('PrivateZone') else 'public'})" for zone in zones
    )
    return (
        f"cannot use DNS name {quoted(text)}: it lies in {len(words)} hosted zones of the same name, {listed(words)}\n"
        f"{_WHERE}  way out: use a name that lies in one"
    )


def _describe_foreign(name: Name, record: ResourceRecordSetOutputTypeDef) -> str:
    article = "an" if record["Type"].startswith("A") else "a"
    kind = f"{article} {record['Type']} record" + (" of another routing policy" if "SetIdentifier" in record else "")
    if "AliasTarget" in record:
        values = f"alias of {record['AliasTarget']['DNSName'].rstrip('.')}"
    else:
        values = listed(one["Value"] for one in record.get("ResourceRecords", []))
    return (
        f"cannot use DNS name {quoted(name.text)}: there is {kind} of that name already ({values})\n"
        f"{_WHERE}  way out: remove that record from zone {name.zone} ({name.zone_id}), or use another name"
    )
