//! The main job: `gaia build -var-file=vars.json gaia-hub.json` makes the gaia-hub AMI, on an EC2 that is not ours and through a
//! real sshd that only the build's own key pair opens.

use gaia_tests::{Gaia, Rig, masked, sample};
use serde_json::{Value, json};

const TAGS: [&str; 6] = ["BuildMethod", "BuildTime", "BuildType", "Name", "OS", "Version"];

/// What the machine must not carry afterwards, and does before.
const SENSITIVE: [&str; 6] = [
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_ed25519_key.pub",
    "/home/core/.ssh/authorized_keys",
    "/home/core/.ssh/authorized_keys.d/coreos-metadata",
    "/etc/machine-id",
];

fn tag_keys(resource: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = resource["Tags"].as_object().into_iter().flatten().map(|(k, _)| k.as_str()).collect();
    keys.sort_unstable();
    keys
}

/// One AMI with two disks, six tags on it and on both snapshots, and nothing else that was not there before.
fn check_the_image(rig: &Rig, before: &gaia_tests::State) {
    let region = rig.ready.region.as_str();
    let after = rig.state();
    let images = after.of(region, "images");
    let [image] = images.as_slice() else { panic!("one AMI, not {images:#?}") };
    assert_eq!(image["Name"], "Blockstack.Gaia.Hub_1549643256");
    assert_eq!(image["State"], "available");
    assert_eq!(tag_keys(image), TAGS);
    assert_eq!(image["Tags"]["OS"], "Flatcar Stable");

    let disks = image["BlockDeviceMappings"].as_array().expect("an image has disks");
    let disk = |device: &str| disks.iter().find(|d| d["DeviceName"] == device).map(|d| &d["Ebs"]);
    let (root, data) = (disk("/dev/xvda").expect("a root disk"), disk("/dev/sdf").expect("a data disk"));
    assert_eq!((&root["VolumeSize"], &data["VolumeSize"]), (&json!(10), &json!(100)));
    assert_eq!((&root["VolumeType"], &data["VolumeType"]), (&json!("gp2"), &json!("gp2")));
    assert_eq!(disks.len(), 2);

    let snapshots = after.of(region, "snapshots");
    assert_eq!(snapshots.len(), 2);
    for snapshot in &snapshots {
        assert_eq!(tag_keys(snapshot), TAGS);
        assert!([&root["SnapshotId"], &data["SnapshotId"]].contains(&&snapshot["SnapshotId"]));
    }
    let made: Vec<_> = after.lines().into_iter().filter(|line| !before.lines().contains(line)).collect();
    assert_eq!(made.len(), 3, "an AMI and two snapshots, and nothing else: {made:?}");
    assert!(before.lines().iter().all(|line| after.lines().contains(line)), "what was there before is still there");
}

#[test]
fn the_gaia_hub_image_is_built_with_the_output_that_users_know() {
    let rig = Rig::start(&[]);
    let gaia = Gaia::new(&rig);
    let before = rig.state();
    for path in SENSITIVE {
        assert!(rig.has(path), "{path} is there before");
    }

    let ran = gaia.build(&[]);

    assert_eq!(ran.code(), Some(0), "{}\nsshd: {}", ran.all(), rig.sshd_log());
    assert_eq!(ran.stderr, "");
    let expected = sample().replace("port 22 ", &format!("port {} ", rig.ready.ssh_port));
    assert_eq!(masked(&ran.stdout), expected);
    check_the_image(&rig, &before);
    for path in SENSITIVE {
        assert!(!rig.has(path), "{path} is gone after");
    }
    assert!(rig.has("/boot/flatcar/first_boot"));
    assert_eq!(gaia.ledgers(), Vec::<String>::new());
    assert!(ran.stdout.contains(&rig.ready.source_ami), "the newest Flatcar of its owner, not another's newer image");
}

#[test]
fn the_policy_of_the_guide_is_enough_and_no_other_action_is_called() {
    let rig = Rig::start(&["--iam"]);
    let gaia = Gaia::new(&rig);
    let before = rig.state();

    let ran = gaia.build(&[]);

    assert_eq!(ran.code(), Some(0), "{}", ran.all());
    let expected = sample().replace("port 22 ", &format!("port {} ", rig.ready.ssh_port));
    assert_eq!(masked(&ran.stdout), expected);
    check_the_image(&rig, &before);

    let policy = std::fs::read_to_string(gaia_tests::repository().join("examples/gaia-hub/iam-policy.json")).unwrap();
    let policy: Value = serde_json::from_str(&policy).unwrap();
    let allowed: Vec<_> =
        policy["Statement"][0]["Action"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for call in rig.calls() {
        let action = format!("ec2:{}", call.action);
        assert!(allowed.iter().any(|a| a.eq_ignore_ascii_case(&action)), "{action} is not in the policy");
        assert!(call.status < 400, "{call:?}");
    }
}

#[test]
fn coreos_as_it_was_is_one_var_away() {
    let rig = Rig::start(&["--system", "coreos"]);
    let gaia = Gaia::new(&rig);
    let ran = gaia.build(&[
        "-var",
        "source_name=*CoreOS*stable*hvm*",
        "-var=source_owner=595879546273",
        "--var",
        "os=CoreOS Stable",
    ]);
    assert_eq!(ran.code(), Some(0), "{}", ran.all());
    let images = rig.state().of(&rig.ready.region, "images");
    assert_eq!(images[0]["Tags"]["OS"], "CoreOS Stable");
    assert!(rig.has("/boot/coreos/first_boot"));
}

#[test]
fn copies_in_other_regions_carry_the_same_tags() {
    let rig = Rig::start(&[]);
    let gaia = Gaia::new(&rig);
    gaia.builder(json!({
        "ami_regions": ["us-west-2", "eu-west-1", "us-east-1"],
        "snapshot_tags": {"Name": "a snapshot of {{ .SourceAMIName }}"},
        "ami_description": "made from {{ .SourceAMI }}",
        "ami_users": ["111122223333"],
    }));
    gaia.edit("gaia-hub.json", |template| {
        template["post-processors"] = json!([{"type": "tags", "tags": {"Audited": "{{ build_name }}"}}]);
    });
    let ran = gaia.build(&["-color=false"]);
    assert_eq!(ran.code(), Some(0), "{}", ran.all());
    let state = rig.state();
    for region in ["us-west-2", "eu-west-1", "us-east-1"] {
        let images = state.of(region, "images");
        let [image] = images.as_slice() else { panic!("one AMI in {region}") };
        assert_eq!(image["Tags"]["Audited"], "amazon-ebs", "{region}");
        assert_eq!(image["Tags"]["Name"], "Blockstack.Gaia.Hub_1549643256", "{region}");
        assert_eq!(image["Tags"].as_object().unwrap().len(), 7, "{region}");
        assert_eq!(image["Description"], format!("made from {}", rig.ready.source_ami), "{region}");
        assert!(image["LaunchPermissions"].to_string().contains("111122223333"), "{region}");
        let snapshots = state.of(region, "snapshots");
        assert_eq!(snapshots.len(), 2, "{region}");
        for snapshot in snapshots {
            assert_eq!(snapshot["Tags"]["Name"], "a snapshot of Flatcar-stable-4230.2.4-hvm", "{region}");
            assert_eq!(snapshot["Tags"]["Audited"], "amazon-ebs", "{region}");
        }
        assert!(ran.stdout.contains(&format!("{region}: {}", image["ImageId"].as_str().unwrap())));
    }
}

#[test]
fn an_image_of_the_same_name_is_replaced_only_when_the_new_one_is_ready() {
    let rig = Rig::start(&[]);
    let gaia = Gaia::new(&rig);
    // The machine's sshd is needed more than once: its host keys must stay.
    gaia.provisioner(json!({"inline": ["true"]}));
    let first = gaia.build(&[]);
    assert_eq!(first.code(), Some(0), "{}", first.all());
    let old = rig.state().of(&rig.ready.region, "images")[0]["ImageId"].clone();

    let refused = gaia.build(&[]);
    assert_eq!(refused.code(), Some(1));
    let text = format!(
        "Error: AMI Name: 'Blockstack.Gaia.Hub_1549643256' is used by an existing AMI: {}",
        old.as_str().unwrap()
    );
    assert!(refused.stderr.contains(&text), "{}", refused.all());

    // The new image cannot be made: the old one must still be there.
    rig.faults(&json!({"fail": {"CreateImage": "InvalidParameterCombination"}}));
    let failed = gaia.build(&["-force"]);
    assert_eq!(failed.code(), Some(1));
    assert_eq!(rig.state().of(&rig.ready.region, "images")[0]["ImageId"], old);

    // It is made, and cannot get its name: the old one gets it back.
    rig.faults(&json!({"fail": {"RegisterImage": "InvalidParameterCombination:1"}}));
    let failed = gaia.build(&["-force"]);
    assert_eq!(failed.code(), Some(1));
    assert!(failed.stderr.contains("is registered again as"), "{}", failed.stderr);
    let images = rig.state().of(&rig.ready.region, "images");
    let [back] = images.as_slice() else { panic!("the old image, under its name: {images:#?}") };
    assert_eq!(back["Name"], "Blockstack.Gaia.Hub_1549643256");
    assert_eq!(tag_keys(back), TAGS);
    assert_eq!(rig.state().of(&rig.ready.region, "snapshots").len(), 2, "its snapshots, and no others");
    let old = back["ImageId"].clone();

    rig.faults(&json!({}));
    gaia.builder(json!({"ami_regions": ["us-west-2", "eu-west-1"]}));
    let replaced = gaia.build(&["-force"]);
    assert_eq!(replaced.code(), Some(0), "{}", replaced.all());
    let images = rig.state().of(&rig.ready.region, "images");
    assert_eq!(images.len(), 1);
    assert_ne!(images[0]["ImageId"], old);
    assert_eq!(images[0]["Name"], "Blockstack.Gaia.Hub_1549643256");
    let copies = rig.state().of("eu-west-1", "images");
    assert_eq!((copies.len(), &copies[0]["Name"]), (1, &json!("Blockstack.Gaia.Hub_1549643256")));
    assert_eq!(rig.state().of("eu-west-1", "snapshots").len(), 2);
}
