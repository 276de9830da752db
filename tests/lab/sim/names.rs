//! What processes are called in their resource attributes.

use super::topology::{InstanceId, System};

/// `k8s.pod.name`: every life of a process is a pod of its own.
pub(crate) fn pod(system: &System, instance: InstanceId, life: usize) -> String {
    let of = &system.instances[instance];
    let name = system.service_name(of.service);
    format!(
        "{name}-{:04x}-{}",
        super::rand::mix(instance as u64, life as u64) >> 48,
        of.ordinal + 1
    )
}

/// `service.instance.id`.
pub(crate) fn instance_id(system: &System, instance: InstanceId, life: usize) -> String {
    let of = &system.instances[instance];
    format!("{}/{}.{life}", system.service_name(of.service), of.ordinal + 1)
}

/// `service.version`.
pub(crate) fn version(number: usize) -> String {
    format!("1.{number}.0")
}

/// `host.name`.
pub(crate) fn host(system: &System, instance: InstanceId) -> &str {
    &system.hosts[system.instances[instance].host]
}
