"""References → secrets, from SSM Parameter Store and Secrets Manager.

A reference that names nothing usable is the fault of the file that it stands in (DefinitionError, all of them at once);
AWS out of reach or not allowed is Unavailable. No message and no repr ever holds a value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bootstrap.errors import DefinitionError
from bootstrap.spelling import quoted
from bootstrap.world import aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import GetSecretValueResponseTypeDef
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import ParameterTypeDef

    from bootstrap.variable import Reference

_GET_PARAMETERS = "ssm:GetParameters"
_GET_SECRET = "secretsmanager:GetSecretValue"  # noqa: S105 - an IAM action
_BATCH = 10  # the most names that GetParameters takes
_NO_SUCH_SECRET = ("ResourceNotFoundException", "InvalidRequestException", "ValidationException")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A value that is never shown, and the version that it has in its store."""

    value: str = field(repr=False)
    version: str


class _UnfitError(ValueError):
    """This reference leads to nothing usable; the text says why and the way out."""


def resolve_references(references: Iterable[Reference], region: str | None = None) -> Mapping[Reference, Secret]:
    """Every reference with its secret; only stores that are referred to are asked. DefinitionError, Unavailable."""
    wanted = sorted(set(references), key=lambda reference: (reference.kind, reference.text))
    find_parameter = _read_parameters([reference for reference in wanted if reference.kind == "ssm"], region)
    find_secret = _read_secrets([reference for reference in wanted if reference.kind == "secret"], region)
    secrets: dict[Reference, Secret] = {}
    problems: list[str] = []
    for reference in wanted:
        find = find_parameter if reference.kind == "ssm" else find_secret
        try:
            secrets[reference] = _judge_value(find(reference))
        except _UnfitError as unfit:
            problems.append(f"{_failure([reference])}: {unfit}")
    if problems:
        raise DefinitionError(*problems)
    return secrets


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


def _read_parameters(wanted: list[Reference], region: str | None) -> Callable[[Reference], Secret]:
    if not wanted:
        return _find_nothing
    client = aws.call(
        _GET_PARAMETERS,
        _failure(wanted),
        lambda: aws.session().client("ssm", region_name=region or aws.read_own_region(), config=aws.config()),
    )
    found: dict[str, Secret] = {}
    for start in range(0, len(wanted), _BATCH):
        found |= _read_batch(client, wanted[start : start + _BATCH])

    def find(reference: Reference) -> Secret:
        if reference.text not in found:
            raise _UnfitError(_absent("parameter", client.meta.region_name))
        return found[reference.text]

    return find


def _read_batch(client: SSMClient, batch: list[Reference]) -> dict[str, Secret]:
    """The parameters that exist. One malformed name fails a whole batch, which is then asked for one by one."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    def ask() -> list[ParameterTypeDef] | None:
        try:
            names = [reference.text for reference in batch]
            return client.get_parameters(Names=names, WithDecryption=True)["Parameters"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationException":
                return None
            raise

    parameters = aws.call(_GET_PARAMETERS, _failure(batch), ask)
    if parameters is not None:
        return {name: _secret_of(parameter) for parameter in parameters for name in _names_of(parameter)}
    if len(batch) == 1:
        return {}
    return {name: secret for one in batch for name, secret in _read_batch(client, [one]).items()}


def _names_of(parameter: ParameterTypeDef) -> Iterator[str]:
    """It was asked for by name or by ARN, perhaps with ``:version`` or ``:label``, which the answer splits off."""
    for name in (parameter["Name"], parameter.get("ARN", "")):
        yield name + parameter.get("Selector", "")
        yield f"{name}:{parameter['Version']}"


def _secret_of(parameter: ParameterTypeDef) -> Secret:
    return Secret(value=parameter["Value"], version=str(parameter["Version"]))


def _read_secrets(wanted: list[Reference], region: str | None) -> Callable[[Reference], Secret]:
    if not wanted:
        return _find_nothing
    client = aws.call(
        _GET_SECRET,
        _failure(wanted),
        lambda: aws.session().client(
            "secretsmanager", region_name=region or aws.read_own_region(), config=aws.config()
        ),
    )
    by_id: dict[str, list[Reference]] = {}
    for reference in wanted:
        by_id.setdefault(_id_of(reference), []).append(reference)
    answers = {secret_id: _read_secret(client, secret_id, by_id[secret_id]) for secret_id in by_id}

    def find(reference: Reference) -> Secret:
        answer = answers[_id_of(reference)]
        if answer is None:
            raise _UnfitError(_absent("secret", client.meta.region_name))
        return Secret(value=_pick(answer, reference), version=answer["VersionId"])

    return find


def _read_secret(
    client: SecretsManagerClient, secret_id: str, references: list[Reference]
) -> GetSecretValueResponseTypeDef | None:
    from botocore.exceptions import ClientError  # noqa: PLC0415

    def ask() -> GetSecretValueResponseTypeDef | None:
        try:
            return client.get_secret_value(SecretId=secret_id)
        except ClientError as error:
            if error.response["Error"]["Code"] in _NO_SUCH_SECRET:
                return None
            raise

    return aws.call(_GET_SECRET, _failure(references), ask)


def _pick(answer: GetSecretValueResponseTypeDef, reference: Reference) -> str:
    text = answer.get("SecretString")
    if text is None:
        text = answer["SecretBinary"].decode(errors="surrogateescape")
    _, has_key, key = reference.text.partition("#")
    return _pick_key(text, key) if has_key else text


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


def _id_of(reference: Reference) -> str:
    return reference.text.partition("#")[0]


def _absent(noun: str, region: str) -> str:
    return f"no such {noun} in {region}\n  way out: create it there, or correct the reference"


def _failure(references: Iterable[Reference]) -> str:
    names = ", ".join(quoted(f"{reference.kind}:{reference.text}") for reference in references)
    return f"cannot resolve reference {names}"
