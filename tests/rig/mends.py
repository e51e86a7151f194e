"""Where moto's EC2 differs from EC2 in ways that an image build sees, moto is corrected here, and only here.

Each function says what moto 5.2 does without it. Nothing here knows about Gaia.
"""

import copy
import datetime

import flask
from moto.core.responses import ActionResult
from moto.ec2 import utils
from moto.ec2.exceptions import DependencyViolationError, EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.models.instances import Instance
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.utils import random_ami_id
from moto.iam import access_control
from werkzeug.exceptions import HTTPException

import faults


# Where the endpoint keeps a request's body in its environment: whoever parses the form uses up the original.
BODY = "rig.body"
ENDED = ("shutting-down", "terminated")


def mend_moto() -> None:
    # A plain attribute in place of the computed one: see new_image.
    del Ami.block_device_mappings
    AmisResponse.create_image = create_image
    AmisResponse.copy_image = copy_image
    AmisResponse.register_image = register_image
    EC2Backend.delete_snapshot = keep_snapshots_in_use(EC2Backend.delete_snapshot)
    AmisResponse.modify_image_attribute = describe_too(AmisResponse.modify_image_attribute)
    ElasticBlockStore.describe_snapshots = describe_snapshots
    InstanceResponse.run_instances = run_once_per_token(InstanceResponse.run_instances)
    Instance.terminate = terminate_whole_and_once(Instance.terminate)
    EC2Backend.delete_security_group = keep_groups_in_use(EC2Backend.delete_security_group)
    # moto: answers 500 to this filter.
    utils.filter_dict_attribute_mapping["client-token"] = "client_token"
    access_control.IAMPolicyStatement._check_element_matches = match_in_any_case(
        access_control.IAMPolicyStatement._check_element_matches
    )
    access_control.IAMRequest.check_signature = check_signature_of_bytes(access_control.IAMRequest.check_signature)
    access_control.IAMRequest._raise_access_denied = refuse_action
    access_control.IAMRequest._raise_invalid_access_key = refuse_credentials
    access_control.IAMRequest._raise_signature_does_not_match = refuse_credentials


def new_image(backend, mappings: list[dict], **attributes) -> Ami:
    """moto: an AMI has one made-up 15 GiB mapping at its root device. Here: the mappings it is given."""
    image = Ami(backend, root_device_type="ebs", **attributes)
    backend.delete_snapshot(image.ebs_snapshot.id)
    image.block_device_mappings = mappings
    return image


def create_image(self: AmisResponse) -> ActionResult:
    """moto: ignores the block device mappings, makes one snapshot of an invented volume, answers 500 to tags for
    snapshots and takes the same name twice. EC2: a snapshot of each attached volume, as the mappings amend it."""
    backend = self.ec2_backend
    name = self._get_param("Name")
    instance = backend.get_instance(self._get_param("InstanceId"))
    amendments = {mapping["DeviceName"]: mapping for mapping in self._get_param("BlockDeviceMappings", [])}
    self.error_on_dryrun()
    refuse_taken_name(backend, name)

    image_id = random_ami_id()
    mappings = []
    for device, attached in instance.block_device_mapping.items():
        amendment = amendments.pop(device, {})
        if "NoDevice" in amendment:
            continue
        volume = backend.get_volume(attached.volume_id)
        snapshot = backend.create_snapshot(
            volume.id, f"Created by CreateImage({instance.id}) for {image_id}", from_ami=image_id
        )
        ebs = {
            "SnapshotId": snapshot.id,
            "VolumeSize": volume.size,
            "VolumeType": volume.volume_type,
            "DeleteOnTermination": attached.delete_on_termination,
            "Encrypted": volume.encrypted,
        }
        mappings.append({"DeviceName": device, "Ebs": ebs | amendment.get("Ebs", {})})
    mappings += [mapping for mapping in amendments.values() if "NoDevice" not in mapping]

    image = new_image(
        backend, mappings, ami_id=image_id, instance=instance, name=name,
        description=self._get_param("Description", ""), root_device_name=instance.root_device_name,
    )  # fmt: skip
    keep(backend, image, self._get_param("TagSpecifications", []))
    return ActionResult({"ImageId": image.id})


def copy_image(self: AmisResponse) -> ActionResult:
    """moto: copies neither mappings nor snapshots, knows no tags and no client token, takes the same name twice."""
    backend = self.ec2_backend
    name = self._get_param("Name")
    token = self._get_param("ClientToken")
    region = self._get_param("SourceRegion")
    source = ec2_backends[backend.account_id][region].describe_images(ami_ids=[self._get_param("SourceImageId")])[0]
    self.error_on_dryrun()
    for image in backend.amis.values():
        if token and getattr(image, "client_token", None) == token:
            return ActionResult({"ImageId": image.id})
    refuse_taken_name(backend, name)

    image_id = random_ami_id()
    mappings = copy.deepcopy(source.block_device_mappings)
    for mapping in mappings:
        ebs = mapping.get("Ebs", {})
        if "SnapshotId" not in ebs:
            continue
        description = f"Copied for DestinationAmi {image_id} from SourceAmi {source.id} for {ebs['SnapshotId']}"
        kms_key = self._get_param("KmsKeyId")
        snapshot = backend.copy_snapshot(ebs["SnapshotId"], region, description, kms_key)
        snapshot.from_ami = image_id
        snapshot.encrypted = snapshot.encrypted or bool(self._get_param("Encrypted"))
        ebs |= {"SnapshotId": snapshot.id, "Encrypted": snapshot.encrypted}

    image = new_image(
        backend, mappings, ami_id=image_id, source_ami=source, name=name,
        description=self._get_param("Description"), root_device_name=source.root_device_name,
    )  # fmt: skip
    image.client_token = token
    if self._get_param("CopyImageTags"):
        image.add_tags({tag["key"]: tag["value"] for tag in source.get_tags()})
    keep(backend, image, self._get_param("TagSpecifications", []))
    return ActionResult({"ImageId": image.id})


def register_image(self: AmisResponse) -> ActionResult:
    """moto: keeps the name and the description, invents a disk, knows no tags and takes the same name twice."""
    backend = self.ec2_backend
    name = self._get_param("Name")
    self.error_on_dryrun()
    refuse_taken_name(backend, name)
    mappings = self._get_param("BlockDeviceMappings", [])
    for mapping in mappings:
        ebs = mapping.get("Ebs", {})
        if "SnapshotId" in ebs:
            # An unknown snapshot is an error, as in EC2; what is not said comes from the snapshot's volume.
            snapshot = backend.describe_snapshots([ebs["SnapshotId"]])[0]
            mapping["Ebs"] = {"VolumeSize": snapshot.volume.size, "Encrypted": snapshot.encrypted} | ebs
    image = new_image(
        backend, mappings, ami_id=random_ami_id(), name=name, description=self._get_param("Description", ""),
        architecture=self._get_param("Architecture"), virtualization_type=self._get_param("VirtualizationType"),
        root_device_name=self._get_param("RootDeviceName"),
    )  # fmt: skip
    keep(backend, image, self._get_param("TagSpecifications", []))
    return ActionResult({"ImageId": image.id})


def keep_snapshots_in_use(delete):
    """moto: minds the image that a snapshot was made for, and no other that stands on it."""

    def delete_snapshot(self, snapshot_id: str):
        for image in self.amis.values():
            used = [mapping.get("Ebs", {}).get("SnapshotId") for mapping in image.block_device_mappings]
            if snapshot_id in used:
                raise EC2ClientError(
                    "InvalidSnapshot.InUse", f"The snapshot {snapshot_id} is currently in use by {image.id}"
                )
        return delete(self, snapshot_id)

    return delete_snapshot


def describe_too(modify):
    """moto: changes launch permissions only, and ignores a description."""

    def modify_image_attribute(self: AmisResponse) -> ActionResult:
        description = (self._get_param("Description") or {}).get("Value")
        if description is not None:
            self.ec2_backend.describe_images(ami_ids=[self._get_param("ImageId")])[0].description = description
        return modify(self)

    return modify_image_attribute


def describe_snapshots(self: ElasticBlockStore) -> ActionResult:
    """moto: ignores the owners asked for."""
    filters = self._filters_from_querystring()
    owners = self._get_param("OwnerIds", [])
    if owners:
        filters["owner-id"] = [self.ec2_backend.account_id if owner == "self" else owner for owner in owners]
    snapshots = self.ec2_backend.describe_snapshots(self._get_param("SnapshotIds", []), filters)
    return ActionResult({"Snapshots": snapshots})


def refuse_taken_name(backend, name: str) -> None:
    for image in backend.amis.values():
        if image.name == name and image.owner_id == backend.account_id:
            raise EC2ClientError(
                "InvalidAMIName.Duplicate",
                f"AMI name {name} is already in use by AMI {image.id}",
            )


def keep(backend, image: Ami, tag_specifications: list[dict]) -> None:
    """Adds a finished image to the region, with the tags asked for on it and on its snapshots."""
    backend.amis[image.id] = image
    for specification in tag_specifications:
        tags = {tag["Key"]: tag["Value"] for tag in specification["Tags"]}
        if specification["ResourceType"] == "image":
            image.add_tags(tags)
        elif specification["ResourceType"] == "snapshot":
            for snapshot in backend.snapshots.values():
                if snapshot.from_ami == image.id:
                    snapshot.add_tags(tags)


def own_image(backend, owner: str, name: str, image_id: str, architecture: str, created: datetime.datetime) -> None:
    """Adds a public image of another account: hvm, one 8 GiB root disk at /dev/xvda."""
    zone = f"{backend.region_name}a"
    volume = backend.create_volume(size=8, zone_name=zone)
    snapshot = backend.create_snapshot(volume.id, name, owner, from_ami=image_id)
    backend.delete_volume(volume.id)
    ebs = {"SnapshotId": snapshot.id, "VolumeSize": 8, "VolumeType": "gp2", "DeleteOnTermination": True}
    backend.amis[image_id] = new_image(
        backend, [{"DeviceName": "/dev/xvda", "Ebs": ebs}], ami_id=image_id, name=name, owner_id=owner, public=True,
        virtualization_type="hvm", architecture=architecture, hypervisor="xen", root_device_name="/dev/xvda",
        creation_date=created, image_location=f"{owner}/{name}", region_name=zone,
    )  # fmt: skip


def run_once_per_token(run):
    """moto: a second RunInstances with the same client token launches a second instance."""

    def run_instances(self: InstanceResponse) -> ActionResult:
        token = self._get_param("ClientToken")
        for reservation in self.ec2_backend.reservations.values():
            if token and any(instance.client_token == token for instance in reservation.instances):
                return ActionResult(reservation)
        return run(self)

    return run_instances


def terminate_whole_and_once(terminate):
    """moto: leaves the network interface that came with the instance, and to terminate twice is an error about it."""

    def terminate_instance(self: Instance):
        if self._state.name in ENDED:
            return copy.copy(self._state)
        self.nics[0].delete_on_termination = True
        return terminate(self)

    return terminate_instance


def keep_groups_in_use(delete):
    """moto: deletes a security group under a living instance."""

    def delete_security_group(self, name=None, group_id=None):
        for instance in self.all_instances():
            for interface in instance.nics.values() if instance.state != "terminated" else ():
                if group_id in {group.id for group in interface.group_set}:
                    raise DependencyViolationError(f"resource {group_id} has a dependent object")
        return delete(self, name, group_id)

    return delete_security_group


def match_in_any_case(matches):
    """moto: `ec2:CreateKeypair` in a policy does not cover CreateKeyPair. IAM: action names have no case."""

    def check_element_matches(self, element: str, value: str) -> bool:
        if element not in ("Action", "NotAction"):
            return matches(self, element, value)
        patterns = self._statement[element]
        patterns = patterns if isinstance(patterns, list) else [patterns]
        return any(self._match(pattern.lower(), value.lower()) for pattern in patterns)

    return check_element_matches


def check_signature_of_bytes(check):
    """moto: checks a signature over the form as it would encode it, not as it came (a space is `+` or `%20`)."""

    def check_signature(self) -> None:
        self._body = flask.request.environ[BODY]
        check(self)

    return check_signature


class Refusal(HTTPException):
    """moto: answers AccessDenied in another service's XML, which no EC2 client can read."""

    def __init__(self, code: str, message: str):
        super().__init__(faults.error_document(code, message))
        self.code = faults.status_of(code)


def refuse_action(self) -> None:
    raise Refusal(
        "UnauthorizedOperation",
        f"You are not authorized to perform this operation. User: {self._access_key.arn} is not authorized to perform: "
        f"{self._action} because no identity-based policy allows the {self._action} action",
    )


def refuse_credentials(self, _reason: str = "") -> None:
    raise Refusal("AuthFailure", "AWS was not able to validate the provided access credentials")
