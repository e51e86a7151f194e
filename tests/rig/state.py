"""What exists at the endpoint: the public keys that open the machine, and all resources for a before-and-after look."""

import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

Credentials = tuple[str, str]


def client(service: str, url: str, region: str, credentials: Credentials):
    """A boto3 client of the endpoint."""
    key, secret = credentials
    return boto3.client(
        service, endpoint_url=url, region_name=region, aws_access_key_id=key, aws_secret_access_key=secret
    )


def authorized_keys() -> list[str]:
    """The public key of each running instance's key pair, as the metadata service would hand it to the instance."""
    keys = []
    for backend in regions().values():
        for instance in backend.all_instances():
            pair = backend.key_pairs.get(instance.key_name)
            if instance.is_running() and pair:
                keys.append(pair.public_key.strip())
    return keys


def resources(url: str, admin: Credentials) -> dict:
    """By region and kind, for every region that has any; `Tags` as an object, terminated instances left out."""
    found = {region: of_region(client("ec2", url, region, admin)) for region in sorted(regions())}
    return {region: kinds for region, kinds in found.items() if any(kinds.values())}


def regions() -> dict:
    """moto's models of the regions that were used so far."""
    return dict(ec2_backends[DEFAULT_ACCOUNT_ID])


def of_region(ec2) -> dict[str, list[dict]]:
    instances = [i for page in ec2.describe_instances()["Reservations"] for i in page["Instances"]]
    images = ec2.describe_images(Owners=["self"])["Images"]
    for image in images:
        attribute = ec2.describe_image_attribute(ImageId=image["ImageId"], Attribute="launchPermission")
        image["LaunchPermissions"] = attribute["LaunchPermissions"]
    found = {
        "instances": [i for i in instances if i["State"]["Name"] != "terminated"],
        "volumes": ec2.describe_volumes()["Volumes"],
        "network_interfaces": ec2.describe_network_interfaces()["NetworkInterfaces"],
        "images": images,
        "snapshots": ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"],
        "key_pairs": ec2.describe_key_pairs()["KeyPairs"],
        "security_groups": [
            group for group in ec2.describe_security_groups()["SecurityGroups"] if group["GroupName"] != "default"
        ],
    }
    for kind in found.values():
        for resource in kind:
            tags = resource.pop("TagSet", resource.get("Tags", []))
            resource["Tags"] = {tag["Key"]: tag["Value"] for tag in tags}
    return found
