"""References → secrets, from SSM Parameter Store and Secrets Manager.

``name``, ``name:3`` and ``name:label`` are what SSM itself takes; a secret is ``id``, ``id#json-key``,
``id?stage=AWSPREVIOUS#json-key`` or ``id?version=…``, because neither ``?`` nor ``#`` can stand in an id. A reference
that is pinned is asked for by that version first; only when the store has it no more, as it stands there now.

A reference that names nothing usable is the fault of the file that it stands in (DefinitionError, all of them at once);
AWS out of reach or not allowed is Unavailable. No message and no repr ever holds a value.
"""

from __future__ import annotations

import json
import re
from dataclasses import field
from typing import TYPE_CHECKING, Any

from bootstrap.environ import Need
from bootstrap.errors import DefinitionError
from bootstrap.frozen import dataclass
from bootstrap.spelling import quoted
from bootstrap.variable import Reference
from bootstrap.world import aws, clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import GetSecretValueResponseTypeDef
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import ParameterTypeDef


_GET_PARAMETERS = "ssm:GetParameters"
_GET_SECRET = "secretsmanager:GetSecretValue"  # noqa: S105 - an IAM action
_BATCH = 10  # the most names that GetParameters takes
PATIENCE_S = 60.0  # for all references together
_SELECTOR = re.compile(r"(?P<name>(?:arn:[^/]*)?[^:]*):(?P<selector>[^:/]+)")
_QUERY = re.compile(r"(?P<id>[^?#]+)(?:\?(?P<by>version|stage)=(?P<which>[^?#&]+))?(?P<key>#.*)?", re.DOTALL)
_NO_SUCH_SECRET = ("ResourceNotFoundException", "InvalidRequestException", "ValidationException")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A value that is never shown, and the version that it has in its store."""

    value: str = field(repr=False)
    version: str


class _UnfitError(ValueError):
    """This reference leads to nothing usable; the text says why and the way out."""


def resolve_references(
    references: Iterable[Reference],
    region: str | None = None,
    *,
    pins: Mapping[Reference, str] | None = None,
    needs: Mapping[Reference, Need] | None = None,
) -> Mapping[Reference, Secret]:
    """Every reference with its secret; only stores that are referred to are asked.

    ``pins`` are versions to look for first, ``needs`` say in errors where a reference stands and who needs it. Raises
    DefinitionError and Unavailable.
    """
    pins, needs = pins or {}, needs or {}
    deadline = clock.now() + PATIENCE_S
    wanted = sorted(set(references), key=lambda reference: (reference.kind, reference.text))
    find_parameter = _read_parameters([one for one in wanted if one.kind == "ssm"], pins, region, deadline)
    find_secret = _read_secrets([one for one in wanted if one.kind == "secret"], pins, region, deadline)
    secrets: dict[Reference, Secret] = {}
    problems: list[str] = []
    for reference in wanted:
        find = find_parameter if reference.kind == "ssm" else find_secret
        try:
            secrets[reference] = _judge_value(find(reference))
        except _UnfitError as unfit:
            problems.append(_refusal(reference, unfit, needs.get(reference)))
    if problems:
        raise DefinitionError(*problems)
    return secrets


def read_secrets(*, wanted: Sequence[tuple[Any, ...]]) -> list[tuple[str, str]]:
    """The same for a process that does not call AWS itself: kind, text, pin, files and programs → value and version."""
    references = [Reference(kind=kind, text=text) for kind, text, *_ in wanted]
    pins = {one: pin for one, (_, _, pin, *_) in zip(references, wanted, strict=True) if pin is not None}
    needs = {
        one: Need(tuple(files), tuple(programs)) for one, (*_, files, programs) in zip(references, wanted, strict=True)
    }
    found = resolve_references(references, pins=pins, needs=needs)
    return [(found[one].value, found[one].version) for one in references]


def read_parameter_names(path: str, region: str | None = None) -> list[str]:
    """The names of all parameters below a path, page by page; raises DefinitionError for none, and Unavailable."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - only with AWS

    failure = f"cannot read the parameters below {quoted(path)}"

    def ask() -> list[str] | None:
        client = aws.session().client("ssm", region_name=region or aws.read_own_region(), config=aws.config())
        pages = client.get_paginator("get_parameters_by_path").paginate(
            Path=path, Recursive=True, WithDecryption=False, PaginationConfig={"PageSize": _BATCH}
        )
        try:
            return [parameter["Name"] for page in pages for parameter in page["Parameters"]]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationException":
                return None
            raise

    names = aws.call("ssm:GetParametersByPath", failure, ask, patience_s=PATIENCE_S)
    if not names:
        cause = "it is no path of parameters" if names is None else "there are none"
        raise DefinitionError(f"{failure}: {cause}\n  way out: name a path such as /todo/production/api")
    return names


def pick_value(text: str, reference: Reference) -> str:
    """What a reference means in the text of its secret: all of it, or one key of JSON; raises ValueError saying why."""
    _, has_key, key = reference.text.partition("#")
    return _pick_key(text, key) if has_key else text


def _refusal(reference: Reference, unfit: _UnfitError, need: Need | None) -> str:
    cause, _, way_out = str(unfit).partition("\n")
    lines = [f"{_failure([reference])}: {cause}"]
    if need is not None:
        lines.append(f"  where: {', '.join(f'{file}:1' for file in need.files)}")
        lines.append(f"  needed by: {', '.join(need.programs)}")
    return "\n".join([*lines, way_out])


def _judge_value(secret: Secret) -> Secret:
    """Refuse what no environment can carry."""
    try:
        fits = b"\0" not in secret.value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise _UnfitError(
            "its value holds a character that no environment can carry\n  way out: store it as plain text"
        )
    return secret


def _read_parameters(
    wanted: list[Reference], pins: Mapping[Reference, str], region: str | None, deadline: float
) -> Callable[[Reference], Secret]:
    if not wanted:
        return _find_nothing
    client = aws.call(
        _GET_PARAMETERS,
        _failure(wanted),
        lambda: aws.session().client("ssm", region_name=region or aws.read_own_region(), config=aws.config()),
        patience_s=_left(deadline),
    )
    asked = {reference: _pinned_name(reference, pins) for reference in wanted}
    found = _read_names(client, list(asked.values()), deadline)
    gone = [reference for reference in wanted if asked[reference] not in found and asked[reference] != reference.text]
    found |= _read_names(client, [reference.text for reference in gone], deadline)

    def find(reference: Reference) -> Secret:
        secret = found.get(asked[reference]) or found.get(reference.text)
        if secret is None:
            raise _UnfitError(_absent("parameter", client.meta.region_name))
        return secret

    return find


def _pinned_name(reference: Reference, pins: Mapping[Reference, str]) -> str:
    """The name with the version that was seen; a label may have moved on since."""
    pin = pins.get(reference)
    if pin is None:
        return reference.text
    selected = _SELECTOR.fullmatch(reference.text)
    return f"{selected['name'] if selected else reference.text}:{pin}"


def _read_names(client: SSMClient, names: list[str], deadline: float) -> dict[str, Secret]:
    found: dict[str, Secret] = {}
    names = list(dict.fromkeys(names))
    for start in range(0, len(names), _BATCH):
        found |= _read_batch(client, names[start : start + _BATCH], deadline)
    return found


def _read_batch(client: SSMClient, names: list[str], deadline: float) -> dict[str, Secret]:
    """The parameters that exist. One malformed name fails a whole batch, which is then asked for one by one."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    def ask() -> dict[str, Secret] | None:
        try:
            parameters = client.get_parameters(Names=names, WithDecryption=True)["Parameters"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationException":
                return None
            raise
        return {name: _secret_of(parameter) for parameter in parameters for name in _names_of(parameter)}

    failure = f"cannot resolve reference {', '.join(quoted(f'ssm:{name}') for name in names)}"
    found = aws.call(_GET_PARAMETERS, failure, ask, patience_s=_left(deadline))
    if found is not None:
        return found
    if len(names) == 1:
        return {}
    return {name: secret for one in names for name, secret in _read_batch(client, [one], deadline).items()}


def _names_of(parameter: ParameterTypeDef) -> Iterator[str]:
    """It was asked for by name or by ARN, perhaps with ``:version`` or ``:label``, which the answer splits off."""
    for name in (parameter["Name"], parameter.get("ARN", "")):
        yield name + parameter.get("Selector", "")
        yield f"{name}:{parameter['Version']}"


def _secret_of(parameter: ParameterTypeDef) -> Secret:
    return Secret(value=_text(parameter["Value"]), version=str(parameter["Version"]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    """One question to Secrets Manager; several references may share its answer."""

    secret_id: str
    version: str | None = None
    stage: str | None = None


def _parse_query(reference: Reference) -> _Query:
    match = _QUERY.fullmatch(reference.text)
    if match is None:
        raise _UnfitError("it is no secret's id\n  way out: write id, id#json-key or id?stage=AWSPREVIOUS#json-key")
    which = {} if match["by"] is None else {match["by"]: match["which"]}
    return _Query(secret_id=match["id"], **which)


def _read_secrets(
    wanted: list[Reference], pins: Mapping[Reference, str], region: str | None, deadline: float
) -> Callable[[Reference], Secret]:
    if not wanted:
        return _find_nothing
    client = aws.call(
        _GET_SECRET,
        _failure(wanted),
        lambda: aws.session().client(
            "secretsmanager", region_name=region or aws.read_own_region(), config=aws.config()
        ),
        patience_s=_left(deadline),
    )
    answers: dict[_Query, GetSecretValueResponseTypeDef | None] = {}

    def ask(query: _Query, reference: Reference) -> GetSecretValueResponseTypeDef | None:
        if query not in answers:
            answers[query] = _read_secret(client, query, _failure([reference]), deadline)
        return answers[query]

    def find(reference: Reference) -> Secret:
        query, pin = _parse_query(reference), pins.get(reference)
        pinned = None
        if pin is not None and query.version is None:
            pinned = ask(_Query(secret_id=query.secret_id, version=pin), reference)
        answer = pinned or ask(query, reference)
        if answer is None:
            raise _UnfitError(_absent("secret", client.meta.region_name))
        return Secret(value=_pick(answer, reference), version=answer["VersionId"])

    return find


def _read_secret(
    client: SecretsManagerClient, query: _Query, failure: str, deadline: float
) -> GetSecretValueResponseTypeDef | None:
    from botocore.exceptions import ClientError  # noqa: PLC0415

    def ask() -> GetSecretValueResponseTypeDef | None:
        which = {"VersionId": query.version} if query.version else {}
        which |= {"VersionStage": query.stage} if query.stage else {}
        try:
            answer = client.get_secret_value(SecretId=query.secret_id, **which)
        except ClientError as error:
            if error.response["Error"]["Code"] in _NO_SUCH_SECRET:
                return None
            raise
        _text(answer["VersionId"])
        if "SecretBinary" not in answer:
            _text(answer["SecretString"])
        return answer

    return aws.call(_GET_SECRET, failure, ask, patience_s=_left(deadline))


def _pick(answer: GetSecretValueResponseTypeDef, reference: Reference) -> str:
    text = answer.get("SecretString")
    if text is None:
        text = answer["SecretBinary"].decode(errors="surrogateescape")
    return pick_value(text, reference)


def _pick_key(text: str, key: str) -> str:
    try:
        document = json.loads(text, parse_int=str, parse_float=str)  # a number is passed on as it is written
    except (ValueError, RecursionError):
        raise _UnfitError(f"the secret is not JSON\n  way out: leave out #{key}") from None
    if not isinstance(document, dict) or key not in document:
        raise _UnfitError(f"the secret has no key {quoted(key)}\n  way out: correct what follows the #")
    match document[key]:
        case str() as value:
            return value
        case bool() as value:
            return "true" if value else "false"
    raise _UnfitError(f"the key {quoted(key)} is neither text nor a number\n  way out: refer to another key")


def _find_nothing(reference: Reference) -> Secret:
    raise AssertionError(reference)


def _left(deadline: float) -> float:
    return max(deadline - clock.now(), 0.0)


def _absent(noun: str, region: str) -> str:
    return f"no such {noun} in {region}\n  way out: create it there, or correct the reference"


def _failure(references: Iterable[Reference]) -> str:
    names = ", ".join(quoted(f"{reference.kind}:{reference.text}") for reference in references)
    return f"cannot resolve reference {names}"
