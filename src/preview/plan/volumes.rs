//! The volumes of the preview: no disk that live pods write to becomes a second
//! writer's. Disks that others share by design are named.

use serde_json::{Map, Value, json};

use super::{Request, mounts};
use crate::workload::{Claims, Source};

/// Sources of volumes that one pod, or one node, has at a time.
const DISKS: &[&str] = &[
    "awsElasticBlockStore",
    "azureDisk",
    "cinder",
    "fc",
    "flexVolume",
    "gcePersistentDisk",
    "iscsi",
    "photonPersistentDisk",
    "portworxVolume",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];
/// Sources of volumes that any number of pods may write to.
const SHARES: &[&str] = &["azureFile", "cephfs", "glusterfs", "nfs", "quobyte"];
/// Drivers whose inline volumes are such shares; those of others belong to one pod.
const SHARE_DRIVERS: &[&str] =
    &["nfs.csi.k8s.io", "smb.csi.k8s.io", "file.csi.azure.com", "efs.csi.aws.com", "cephfs.csi.ceph.com"];
/// Folders of a node that its own programs keep. A program that mounts one wants its
/// content, and an empty volume would be of no use to it.
const SYSTEM_FOLDERS: &[&str] =
    &["/boot", "/etc", "/lib", "/lib64", "/proc", "/run", "/sys", "/usr", "/var/run"];

/// What becomes of a volume.
enum Fate {
    /// It is copied as it is.
    Kept,
    /// It is copied, and named in a warning.
    Shared(String),
    /// It is mounted for reading only.
    ReadOnly(String),
    /// It becomes an empty volume.
    Empty(String),
    /// There can be no preview with it.
    Refused(String),
}

/// Changes the volumes that live pods write to.
pub(super) fn change(spec: &mut Map<String, Value>, request: &Request, warnings: &mut Vec<String>) {
    own_disks(spec, &request.source, warnings);
    let volumes = spec.get("volumes").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut changed = Vec::with_capacity(volumes.len());
    for volume in volumes {
        let name = name(&volume).to_owned();
        match fate(spec, &volume, &request.claims) {
            // `refused` is asked before there is a plan.
            Fate::Kept | Fate::Refused(_) => changed.push(volume),
            Fate::Shared(with) => {
                warnings.push(format!(
                    "the preview writes to the same data as live pods: volume `{name}` is {with}"
                ));
                changed.push(volume);
            }
            Fate::ReadOnly(why) => {
                mount_read_only(spec, &name);
                warnings.push(format!("volume `{name}` is read-only in the preview: {why}"));
                changed.push(volume);
            }
            Fate::Empty(why) => {
                warnings.push(format!("volume `{name}` is empty in the preview: {why}"));
                changed.push(json!({"name": name, "emptyDir": {}}));
            }
        }
    }
    if !changed.is_empty() {
        spec.insert("volumes".to_owned(), changed.into());
    }
    resource_claims(spec, warnings);
}

/// Why there can be no preview: a device of the live workload, in whose place nothing
/// empty can be mounted.
pub(crate) fn refused(source: &Source, claims: &Claims) -> Option<String> {
    let spec = source.template.get("spec")?.as_object()?;
    let own = source.own_disks.iter().find(|name| is_device(spec, name));
    if let Some(own) = own {
        return Some(format!("volume `{own}` is a raw device that each pod of the target has for itself"));
    }
    let volumes = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    volumes.into_iter().find_map(|volume| match fate(spec, volume, claims) {
        Fate::Refused(why) => Some(format!("volume `{}` is a raw device: {why}", name(volume))),
        Fate::Kept | Fate::Shared(_) | Fate::ReadOnly(_) | Fate::Empty(_) => None,
    })
}

/// The claims that the template's volumes name.
pub(crate) fn claim_names(template: &Map<String, Value>) -> Vec<String> {
    let volumes = template.get("spec").and_then(|spec| spec.get("volumes")?.as_array());
    volumes.into_iter().flatten().filter_map(claim_of).collect()
}

fn claim_of(volume: &Value) -> Option<String> {
    volume.get("persistentVolumeClaim")?.get("claimName")?.as_str().map(str::to_owned)
}

fn fate(spec: &Map<String, Value>, volume: &Value, claims: &Claims) -> Fate {
    let name = name(volume);
    let is_read = mounts_of(spec, name).all(|mount| mount["readOnly"] == true) && !is_device(spec, name);
    if let Some(claim) = claim_of(volume) {
        let why = format!("its claim `{claim}` is the live workload's disk");
        let is_read = is_read || volume["persistentVolumeClaim"]["readOnly"] == true;
        return match (claims.exclusive.contains(&claim), is_device(spec, name)) {
            (true, true) => Fate::Refused(why),
            (true, false) => Fate::Empty(why),
            (false, _) if claims.shared.contains(&claim) && !is_read => {
                Fate::Shared(format!("claim `{claim}`, which many pods may write to"))
            }
            (false, _) => Fate::Kept,
        };
    }
    if let Some(host) = volume.get("hostPath") {
        return host_path(host, is_read);
    }
    let source = |kinds: &[&'static str]| kinds.iter().copied().find(|kind| volume.get(kind).is_some());
    if let Some(kind) = source(DISKS).filter(|kind| volume[kind]["readOnly"] != true) {
        return Fate::Empty(format!("`{kind}` is the live workload's disk"));
    }
    if let Some(kind) = source(SHARES).filter(|kind| volume[kind]["readOnly"] != true && !is_read) {
        return Fate::Shared(format!("of `{kind}`"));
    }
    let driver = volume.pointer("/csi/driver").and_then(Value::as_str).unwrap_or_default();
    if SHARE_DRIVERS.contains(&driver) && volume["csi"]["readOnly"] != true && !is_read {
        return Fate::Shared(format!("of the driver `{driver}`"));
    }
    Fate::Kept
}

/// A path of the node: on the same node, the preview would write where a live pod
/// writes; on another, it would leave its data behind.
fn host_path(host: &Value, is_read: bool) -> Fate {
    let path = host.get("path").and_then(Value::as_str).unwrap_or_default().trim_end_matches('/');
    let kind = host.get("type").and_then(Value::as_str).unwrap_or_default();
    let is_below =
        |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_socket = kind == "Socket"
        || (kind.is_empty() && (path.ends_with("sock") || path.ends_with("socket") || path == "/dev/log"));
    let of_node = format!("`{path}` of the node is where live pods write");
    match kind {
        _ if is_socket => Fate::Kept,
        // A device can be written to through a mount for reading, too.
        "BlockDevice" | "CharDevice" => Fate::Refused(of_node),
        "" if is_below("/dev") && path != "/dev/shm" && !is_read => Fate::Refused(of_node),
        _ if is_read => Fate::Kept,
        "File" | "FileOrCreate" => Fate::ReadOnly(of_node),
        // The node itself, or a folder that programs of the node keep.
        _ if path.is_empty() || SYSTEM_FOLDERS.iter().any(|folder| is_below(folder)) => {
            Fate::ReadOnly(of_node)
        }
        _ => Fate::Empty(of_node),
    }
}

/// Replaces the disks that each pod of a StatefulSet has for itself.
fn own_disks(spec: &mut Map<String, Value>, source: &Source, warnings: &mut Vec<String>) {
    for name in &source.own_disks {
        // A StatefulSet's claim has priority over a volume with the same name.
        if let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) {
            volumes.retain(|volume| volume.get("name").and_then(Value::as_str) != Some(name));
        }
        mounts::push(spec, "volumes", json!({"name": name, "emptyDir": {}}));
        warnings.push(format!(
            "volume `{name}` is empty in the preview: each pod of the target has its own disk"
        ));
    }
}

/// Leaves off claims on devices that name a claim of the live workload; one that is
/// made from a template is the pod's own.
fn resource_claims(spec: &mut Map<String, Value>, warnings: &mut Vec<String>) {
    let Some(claims) = spec.get_mut("resourceClaims").and_then(Value::as_array_mut) else { return };
    let mut left = Vec::new();
    claims.retain(|claim| {
        let Some(live) = claim.get("resourceClaimName").and_then(Value::as_str) else { return true };
        left.push((name(claim).to_owned(), live.to_owned()));
        false
    });
    for (_, live) in &left {
        warnings.push(format!(
            "the preview has no access to the devices of ResourceClaim `{live}`, which are the live workload's"
        ));
    }
    let is_left = |claim: &Value| left.iter().any(|(name, _)| claim["name"] == name.as_str());
    for container in containers_mut(spec) {
        let claims =
            container.get_mut("resources").and_then(|resources| resources.get_mut("claims")?.as_array_mut());
        if let Some(claims) = claims {
            claims.retain(|claim| !is_left(claim));
        }
    }
}

fn mount_read_only(spec: &mut Map<String, Value>, volume: &str) {
    for container in containers_mut(spec) {
        let mounts = container.get_mut("volumeMounts").and_then(Value::as_array_mut).into_iter().flatten();
        for mount in mounts.filter(|mount| name(mount) == volume) {
            mount["readOnly"] = true.into();
        }
    }
}

/// Whether a container uses the volume as a raw device.
fn is_device(spec: &Map<String, Value>, volume: &str) -> bool {
    uses(spec, "volumeDevices").any(|device| name(device) == volume)
}

fn mounts_of<'a>(spec: &'a Map<String, Value>, volume: &'a str) -> impl Iterator<Item = &'a Value> {
    uses(spec, "volumeMounts").filter(move |mount| name(mount) == volume)
}

fn uses<'a>(spec: &'a Map<String, Value>, list: &'a str) -> impl Iterator<Item = &'a Value> {
    let containers = ["containers", "initContainers"].into_iter();
    let containers = containers.filter_map(|kind| spec.get(kind)?.as_array()).flatten();
    containers.filter_map(move |container| container.get(list)?.as_array()).flatten()
}

fn containers_mut(spec: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    let lists =
        spec.iter_mut().filter(|(field, _)| matches!(field.as_str(), "containers" | "initContainers"));
    lists.filter_map(|(_, list)| list.as_array_mut()).flatten()
}

fn name(object: &Value) -> &str {
    object.get("name").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preview::plan::Plan;
    use crate::preview::plan::tests::request;

    fn claims() -> Claims {
        Claims { exclusive: ["disk".to_owned()].into(), shared: ["nfs".to_owned()].into() }
    }

    /// A template whose only container mounts this volume.
    fn template(source: &Value, read_only: bool) -> Value {
        let mut volume = json!({"name": "data"});
        volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        json!({"spec": {"volumes": [volume], "containers": [
            {"name": "web", "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": read_only}]},
        ]}})
    }

    #[test]
    fn each_kind_of_volume_is_kept_named_read_only_empty_or_refused() {
        let host = |path: &str, kind: &str| json!({"hostPath": {"path": path, "type": kind}});
        let claim = |name: &str| json!({"persistentVolumeClaim": {"claimName": name}});
        for (source, read_only, expected) in [
            (json!({"configMap": {"name": "a"}}), false, "kept"),
            (json!({"ephemeral": {}}), false, "kept"),
            (json!({"csi": {"driver": "secrets-store.csi.k8s.io"}}), false, "kept"),
            (json!({"csi": {"driver": "smb.csi.k8s.io"}}), false, "shared"),
            (claim("disk"), false, "empty"),
            (claim("disk"), true, "empty"),
            (claim("nfs"), false, "shared"),
            (claim("nfs"), true, "kept"),
            (claim("read-only-many"), false, "kept"),
            (json!({"nfs": {"server": "a"}}), false, "shared"),
            (json!({"nfs": {"server": "a", "readOnly": true}}), false, "kept"),
            (json!({"awsElasticBlockStore": {"volumeID": "a"}}), false, "empty"),
            (json!({"rbd": {"image": "a", "readOnly": true}}), false, "kept"),
            (host("/var/spool/shop", ""), false, "empty"),
            (host("/var/spool/shop", "DirectoryOrCreate"), false, "empty"),
            (host("/var/spool/shop", "Directory"), true, "kept"),
            (host("/var/run/docker.sock", ""), false, "kept"),
            (host("/var/run/docker.sock", "Socket"), false, "kept"),
            (host("/etc/localtime", ""), false, "read-only"),
            (host("/run", "Directory"), false, "read-only"),
            (host("/srv/journal", "File"), false, "read-only"),
            (host("/", ""), false, "read-only"),
            (host("/dev/sdb", "BlockDevice"), true, "refused"),
            (host("/dev/kvm", ""), false, "refused"),
            (host("/dev/shm", ""), false, "empty"),
            (host("/etcetera", ""), false, "empty"),
        ] {
            let mut request = request(&template(&source, read_only));
            request.claims = claims();
            if let Some(why) = refused(&request.source, &request.claims) {
                assert_eq!(expected, "refused", "{source}: {why}");
                continue;
            }
            let plan = Plan::of(&request);
            let spec = &plan.pod_template()["spec"];
            let now = match (&spec["volumes"][0], &spec["containers"][0]["volumeMounts"][0]["readOnly"]) {
                (volume, _) if volume == &json!({"name": "data", "emptyDir": {}}) => "empty",
                (_, now) if *now != json!(read_only) => "read-only",
                _ if plan.warnings.is_empty() => "kept",
                _ => "shared",
            };
            assert_eq!(now, expected, "{source} {:?}", plan.warnings);
            assert_eq!(plan.warnings.len(), usize::from(expected != "kept"), "{source} {:?}", plan.warnings);
        }
    }

    #[test]
    fn a_raw_device_of_the_live_workload_is_refused() {
        let mut template = template(&json!({"persistentVolumeClaim": {"claimName": "disk"}}), false);
        template["spec"]["containers"][0]["volumeDevices"] =
            json!([{"name": "data", "devicePath": "/dev/data"}]);
        let mut source = request(&template).source;
        let why = refused(&source, &claims()).unwrap();
        assert_eq!(why, "volume `data` is a raw device: its claim `disk` is the live workload's disk");
        source.template["spec"].as_object_mut().unwrap().remove("volumes");
        source.own_disks = vec!["data".to_owned()];
        assert!(refused(&source, &claims()).unwrap().contains("`data`"));
    }

    #[test]
    fn a_named_resource_claim_is_left_off_and_one_from_a_template_stays() {
        let template = json!({"spec": {
            "resourceClaims": [
                {"name": "gpu", "resourceClaimName": "live-gpu"}, {"name": "own", "resourceClaimTemplateName": "gpus"},
            ],
            "containers": [{"name": "web", "resources": {"claims": [{"name": "gpu"}, {"name": "own"}]}}],
        }});
        let plan = Plan::of(&request(&template));
        let spec = &plan.pod_template()["spec"];
        assert_eq!(spec["resourceClaims"], json!([{"name": "own", "resourceClaimTemplateName": "gpus"}]));
        assert_eq!(spec["containers"][0]["resources"]["claims"], json!([{"name": "own"}]));
        assert!(plan.warnings[0].contains("ResourceClaim `live-gpu`"), "{:?}", plan.warnings);
    }
}
