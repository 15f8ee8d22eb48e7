//! `[batch]`.

use rowmill_domain::job::{Capacity, Resources};
use rowmill_domain::limits::{
    ATTEMPT_SECONDS_MIN, EC2_MEMORY_MIN, FARGATE_STORAGE_INCLUDED_GIB, FARGATE_STORAGE_MAX_GIB,
    fargate_memory,
};

use super::reader::{Node, TomlTable};
use super::{DURATION, units, whole};
use crate::BatchSettings;

pub(super) const MEMORY: &str = "\"512 MiB\" or \"2 GiB\"";
const STORAGE: &str = "\"100 GiB\"";

pub(super) fn batch(table: &TomlTable<'_>) -> BatchSettings {
    let default = BatchSettings::default();
    let capacity = table.optional("capacity").and_then(|n| n.one_of());
    let capacity = match capacity {
        Some("ec2") => Capacity::Ec2,
        _ => default.capacity,
    };
    let batch = BatchSettings {
        seconds_per_record: table
            .optional("seconds_per_record")
            .and_then(|n| n.number())
            .unwrap_or(default.seconds_per_record),
        concurrency: whole(table, "concurrency", default.concurrency),
        max_children: table.optional("max_children").and_then(|n| n.whole()),
        records_per_child: table.optional("records_per_child").and_then(|n| n.whole()),
        within: table
            .optional("within")
            .and_then(|n| n.read(units::duration, DURATION)),
        max_records: table.optional("max_records").and_then(|n| n.whole()),
        max_cost: table.optional("max_cost").and_then(|n| n.number()),
        stop_after: table.optional("stop_after").and_then(|n| n.tolerance()),
        tolerate: table.optional("tolerate").and_then(|n| n.tolerance()),
        capacity,
        resources: resources(table, capacity, default.resources),
        priority: whole(table, "priority", default.priority),
        attempts: whole(table, "attempts", default.attempts),
        timeout_seconds: table
            .optional("timeout")
            .and_then(|n| {
                let seconds = n.read(units::duration, DURATION)?.as_secs();
                if seconds < u64::from(ATTEMPT_SECONDS_MIN) {
                    n.error(
                        "the time limit must be at least 60 s, the minimum of AWS Batch",
                        None,
                    );
                }
                u32::try_from(seconds).ok()
            })
            .unwrap_or(default.timeout_seconds),
        table_writes: whole(table, "table_writes", default.table_writes),
    };
    table.finish();
    batch
}

/// Reads `vcpu`, `memory` and `storage` of a table. What it does not set is as in `default`.
pub(super) fn resources(
    table: &TomlTable<'_>,
    capacity: Capacity,
    default: Resources,
) -> Resources {
    let vcpu = table.optional("vcpu");
    let memory = table.optional("memory");
    let storage = table.optional("storage");
    let resources = Resources {
        vcpu: vcpu.as_ref().and_then(Node::number).unwrap_or(default.vcpu),
        memory_mib: memory
            .as_ref()
            .and_then(|n| n.read(units::memory, MEMORY))
            .unwrap_or(default.memory_mib),
        storage_gib: match &storage {
            Some(node) => storage_gib(node, capacity),
            None => default.storage_gib,
        },
    };
    size(resources, capacity, vcpu.as_ref(), memory.as_ref());
    resources
}

fn storage_gib(node: &Node<'_>, capacity: Capacity) -> Option<u32> {
    let gib = node.read(units::gib, STORAGE)?;
    if capacity == Capacity::Ec2 {
        node.error(
            "`storage` is for AWS Fargate; on EC2, children share the disk of their instance",
            Some("remove `storage`, or set `capacity = \"fargate\"`"),
        );
        return None;
    }
    let least = FARGATE_STORAGE_INCLUDED_GIB;
    if !(least..=FARGATE_STORAGE_MAX_GIB).contains(&gib) {
        node.error(
            format!("AWS Fargate does not offer {gib} GiB of storage"),
            Some(&format!("choose {least} to {FARGATE_STORAGE_MAX_GIB} GiB")),
        );
        return None;
    }
    (gib > least).then_some(gib)
}

/// Records an error if no machine offers this size of a child.
fn size(
    resources: Resources,
    capacity: Capacity,
    vcpu: Option<&Node<'_>>,
    memory: Option<&Node<'_>>,
) {
    let (vcpus, mib) = (resources.vcpu, resources.memory_mib);
    if capacity == Capacity::Ec2 {
        // Source: AWS Batch API, ResourceRequirement, "VCPU": at least one, a whole number.
        if let Some(node) = vcpu
            && (vcpus < 1.0 || vcpus.fract() != 0.0)
        {
            node.error(
                format!("EC2 does not offer {vcpus} vCPUs"),
                Some("choose a whole number from 1"),
            );
        }
        if let Some(node) = memory
            && mib < EC2_MEMORY_MIN
        {
            node.error(
                format!("{mib} MiB are not enough for a job"),
                Some(&format!("choose at least {EC2_MEMORY_MIN} MiB")),
            );
        }
        return;
    }
    let Some(offered) = fargate_memory(vcpus) else {
        if let Some(node) = vcpu {
            node.error(
                format!("AWS Fargate does not offer {vcpus} vCPUs"),
                Some(
                    "choose 0.25, 0.5, 1, 2, 4, 8, 16 or 32, or set `capacity = \"ec2\"` if the \
                     deployment has EC2 instances",
                ),
            );
        }
        return;
    };
    if let Some(node) = memory.or(vcpu)
        && !offered.contains(mib)
    {
        node.error(
            format!("AWS Fargate does not offer {mib} MiB with {vcpus} vCPUs"),
            Some(&format!("choose {offered}")),
        );
    }
}
