"""What the account holds before a build: source images, a network, and the user that builds."""

import dataclasses
import datetime
import pathlib

from moto import settings
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

import mends
import state

POLICY = pathlib.Path(__file__).parents[2] / "examples/gaia-hub/iam-policy.json"
# The profile that examples/gaia-hub/vars.json.sample names.
PROFILE = "blockstack"
FLATCAR, COREOS = "075585003325", "595879546273"
# Owner, name, id, architecture, day of creation. The newest x86_64 Flatcar is the one to find: the arm64 image is newer
# and of the same name pattern, and another account's image is newer still.
IMAGES = [
    (FLATCAR, "Flatcar-stable-4152.2.3-hvm", "ami-02a3c5e7091b2d4f6", "x86_64", "2025-05-01"),
    (FLATCAR, "Flatcar-stable-4230.2.4-hvm", "ami-048789452aff936df", "x86_64", "2025-10-01"),
    (FLATCAR, "Flatcar-stable-4230.2.4-arm64-hvm", "ami-0c4f2e1d3b5a69788", "arm64", "2025-10-02"),
    ("999999999999", "Flatcar-stable-9999.9.9-hvm", "ami-0badbadbadbadbad0", "x86_64", "2026-01-01"),
    (COREOS, "CoreOS-stable-2512.3.0-hvm", "ami-0d8a7b6c5e4f30211", "x86_64", "2020-05-22"),
]
SOURCE_AMI = IMAGES[1][2]
# Before enforcement, moto asks no one for a name.
ANYONE = ("seed", "seed")


@dataclasses.dataclass
class Seeded:
    source_ami: str
    vpc_id: str
    subnet_id: str
    user: state.Credentials
    admin: state.Credentials


def seed(url: str, region: str, enforce: bool) -> Seeded:
    """Fills the account; with `enforce`, from then on each call needs a signature and the policy's permission."""
    backend = ec2_backends[DEFAULT_ACCOUNT_ID][region]
    for owner, name, image_id, architecture, day in IMAGES:
        created = datetime.datetime.fromisoformat(f"{day}T10:00:00")
        mends.own_image(backend, owner, name, image_id, architecture, created)

    vpc_id, subnet_id = public_subnet(state.client("ec2", url, region, ANYONE))
    iam = state.client("iam", url, region, ANYONE)
    builder = user(iam, "gaia", POLICY.read_text())
    everything = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
    admin = user(iam, "rig", everything)
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0 if enforce else float("inf")
    return Seeded(SOURCE_AMI, vpc_id, subnet_id, builder, admin)


def public_subnet(ec2) -> tuple[str, str]:
    vpc_id = ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
    subnet_id = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.20.0.0/24")["Subnet"]["SubnetId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc_id)
    table = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet_id)
    return vpc_id, subnet_id


def user(iam, name: str, policy: str) -> state.Credentials:
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def write_profile(directory: pathlib.Path, seeded: Seeded, region: str) -> tuple[pathlib.Path, pathlib.Path]:
    """AWS's two files, for AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE, so that no file of the user's is read."""
    credentials, config = directory / "credentials", directory / "config"
    keys = f"aws_access_key_id = {seeded.user[0]}\naws_secret_access_key = {seeded.user[1]}\n"
    credentials.touch(mode=0o600)
    credentials.write_text(f"[default]\n{keys}\n[{PROFILE}]\n{keys}")
    config.write_text(f"[default]\nregion = {region}\n\n[profile {PROFILE}]\nregion = {region}\n")
    return credentials, config
