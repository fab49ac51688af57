"""cluster.yaml and deploy/aws.yaml against AWS as moto plays it: what Ray's launcher makes of them there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import yaml
from launcher_rules import CLUSTER, ROOT, Config
from moto import mock_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.tags import NODE_KIND_HEAD, NODE_KIND_WORKER, TAG_RAY_NODE_KIND, TAG_RAY_NODE_NAME
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil

STACK = ROOT / "deploy" / "aws.yaml"
REGION, ADDRESS = "us-west-2", "203.0.113.7/32"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The outputs of deploy/aws.yaml, made in an account with its default network. moto has no images with NVIDIA's
    driver: another stands for it."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir()  # for the key that Ray makes
    settings = {"HOME": str(home), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": REGION}
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name, value in settings.items():
            patch.setenv(name, value)
        yield make_stack()


def make_stack() -> dict[str, str]:
    ec2, stacks = boto3.client("ec2"), boto3.client("cloudformation")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    boto3.client("ssm").put_parameter(Name="/image", Value=image, Type="String")
    template = yaml.safe_load(STACK.read_text())
    template["Parameters"]["Image"]["Default"] = "/image"
    given = {"Address": ADDRESS, "Bucket": "tickets", "Vpc": ec2.describe_vpcs()["Vpcs"][0]["VpcId"]}
    stacks.create_stack(
        StackName="jackpot", TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
    )  # fmt: skip
    (stack,) = stacks.describe_stacks()["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@pytest.fixture(scope="module")
def config(made: dict[str, str]) -> Config:
    """What `ray up` makes of cluster.yaml with the stack's outputs in its marked lines."""
    words = CLUSTER.read_text().replace("ami-00000000000000000", made["Image"])
    filled = prepare_config(yaml.safe_load(words.replace("sg-00000000000000000", made["Group"])))
    filled = AWSNodeProvider.fillout_available_node_types_resources(filled)
    validate_config(filled)
    return AWSNodeProvider.bootstrap_config(filled)


def test_the_nodes_that_are_launched(made: dict[str, str], config: Config) -> None:
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name, kind in config["available_node_types"].items():
        role = NODE_KIND_HEAD if name == config["head_node_type"] else NODE_KIND_WORKER
        provider.create_node(kind["node_config"], {TAG_RAY_NODE_KIND: role, TAG_RAY_NODE_NAME: name}, 1)
    nodes = {node["InstanceType"]: node for node in instances()}
    assert {kind: node.get("InstanceLifecycle") for kind, node in nodes.items()} == {
        "m6i.xlarge": None, "g5.xlarge": "spot", "g5.2xlarge": "spot",
    }  # fmt: skip
    for kind, node in nodes.items():
        assert [group["GroupId"] for group in node["SecurityGroups"]] == [made["Group"]]
        assert node["MetadataOptions"]["HttpTokens"] == "required"
        profile = node["IamInstanceProfile"]["Arn"].split("/")[1]
        assert profile == ("jackpot-head" if kind == "m6i.xlarge" else "jackpot-worker")
        assert {"Key": "ray-cluster-name", "Value": "jackpot"} in node["Tags"]  # by which the head's role knows its own


def test_ssh_from_one_address_and_the_rest_from_the_cluster(made: dict[str, str]) -> None:
    group = made["Group"]
    (found,) = boto3.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"]
    ssh, between = sorted(found["IpPermissions"], key=lambda rule: rule["IpProtocol"], reverse=True)
    assert (ssh["IpProtocol"], ssh["FromPort"], ssh["ToPort"]) == ("tcp", 22, 22)
    assert (ssh["IpRanges"], ssh["Ipv6Ranges"], ssh["UserIdGroupPairs"]) == ([{"CidrIp": ADDRESS}], [], [])
    assert [pair["GroupId"] for pair in between["UserIdGroupPairs"]] == [group]
    assert (between["IpRanges"], between["Ipv6Ranges"]) == ([], [])


@pytest.mark.usefixtures("made")
def test_roles_reach_one_bucket_and_the_clusters_own_nodes() -> None:
    iam = boto3.client("iam")
    (shared,) = iam.list_policies(Scope="Local")["Policies"]
    version = iam.get_policy_version(PolicyArn=shared["Arn"], VersionId=shared["DefaultVersionId"])
    resources = {statement["Resource"] for statement in version["PolicyVersion"]["Document"]["Statement"]}
    assert resources == {"arn:aws:s3:::tickets", "arn:aws:s3:::tickets/*"}
    for role, own in (("jackpot-head", ["workers"]), ("jackpot-worker", [])):
        attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        assert [policy["PolicyArn"] for policy in attached] == [shared["Arn"]]
        assert iam.list_role_policies(RoleName=role)["PolicyNames"] == own
    policy = iam.get_role_policy(RoleName="jackpot-head", PolicyName="workers")["PolicyDocument"]
    statements = yaml.safe_load(policy)["Statement"]  # moto gives a template's policies as words
    (ends,) = [statement for statement in statements if "ec2:TerminateInstances" in statement["Action"]]
    assert ends["Condition"] == {"StringEquals": {"ec2:ResourceTag/ray-cluster-name": "jackpot"}}
    (passes,) = [statement for statement in statements if statement["Action"] == "iam:PassRole"]
    assert passes["Resource"].endswith(":role/jackpot-worker")


def test_the_stack_has_no_aliases() -> None:
    assert [token for token in yaml.scan(STACK.read_text()) if isinstance(token, yaml.AliasToken)] == []


@pytest.mark.parametrize(
    ("waiting", "none_of", "launched"),
    [
        (3, {}, {"worker": 3}),
        (8, {}, {"worker": 8}),
        (20, {}, {"worker": 8}),
        (5, {"worker": 0.0}, {"spare_worker": 5}),
    ],
)
def test_workers_follow_the_trials_that_wait(
    config: Config, waiting: int, none_of: dict[str, float], launched: dict[str, int]
) -> None:
    """Ray's own scheduler, given trials of a GPU each: what it launches, and where AWS has had none of a type."""
    scaling = AutoscalingConfig(config, skip_content_hash=True)
    trials = [ResourceRequestUtil.make({"CPU": 1, "GPU": 1})] * waiting
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=scaling.get_node_type_configs(),
        max_num_nodes=scaling.get_max_num_worker_nodes(),  # the head is not among them here
        resource_requests=ResourceRequestUtil.group_by_count(trials),
        recoverable_resource_availabilities=none_of,
    )
    reply = ResourceDemandScheduler(_NoLog()).schedule(request)
    assert {launch.instance_type: launch.count for launch in reply.to_launch} == launched


class _NoLog:
    """Takes the place of the autoscaler's log of events."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def instances() -> Iterator[dict[str, Any]]:
    for reservation in boto3.client("ec2").describe_instances()["Reservations"]:
        yield from reservation["Instances"]
