"""What AWS must allow this machine → the statement of ``image/iam/policy.json`` that allows it, by action."""

from __future__ import annotations

STATEMENTS = {
    "autoscaling:CompleteLifecycleAction": "LifeCycle",
    "autoscaling:DescribeAutoScalingGroups": "Read",
    "autoscaling:DescribeAutoScalingInstances": "Read",
    "autoscaling:DescribeLifecycleHooks": "Read",
    "autoscaling:DescribeTags": "Read",
    "autoscaling:RecordLifecycleActionHeartbeat": "LifeCycle",
    "autoscaling:SetInstanceHealth": "LifeCycle",
    "autoscaling:SuspendProcesses": "LifeCycle",
    "autoscaling:TerminateInstanceInAutoScalingGroup": "EndInGroup",
    "ec2:CreateTags": "TagItself",
    "ec2:DescribeInstances": "Read",
    "ec2:DescribeTags": "Read",
    "ec2:TerminateInstances": "EndItself",
    "elasticloadbalancing:DeregisterTargets": "Targets",
    "elasticloadbalancing:DescribeTargetGroupAttributes": "Read",
    "elasticloadbalancing:DescribeTargetGroups": "Read",
    "elasticloadbalancing:DescribeTargetHealth": "Read",
    "elasticloadbalancing:RegisterTargets": "Targets",
    "route53:ChangeResourceRecordSets": "Name",
    "route53:ListHostedZones": "Read",
    "route53:ListResourceRecordSets": "ReadName",
    "s3:GetObject": "ReadObjects",
    "s3:PutObject": "WriteState",
    "secretsmanager:GetSecretValue": "Secrets",
    "sns:Publish": "Alert",
    "ssm:GetParameters": "Parameters",
    "ssm:GetParametersByPath": "Parameters",
}


def render_way_out(action: str, resource: str | None) -> str:
    """What to do about an action that was denied."""
    place = "" if resource is None else f" on {resource}"
    return (
        f"  way out: grant {action}{place} to the role of this machine, as statement {STATEMENTS[action]} of "
        "image/iam/policy.json does"
    )
