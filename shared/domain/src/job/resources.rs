//! What a child gets of a machine.

use serde::{Deserialize, Serialize};

use crate::job::Capacity;
use crate::limits::{FARGATE_SIZES, FARGATE_STORAGE_INCLUDED_GIB};

/// vCPUs, memory and storage of a child.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// The number of vCPUs.
    pub vcpu: f64,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Ephemeral storage in GiB on Fargate, more than [`FARGATE_STORAGE_INCLUDED_GIB`]. `None`: what
    /// Fargate includes. Ignored on one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_gib: Option<u32>,
}

impl Resources {
    /// The smallest size.
    pub const SMALLEST: Resources = Resources {
        vcpu: 0.25,
        memory_mib: 512,
        storage_gib: None,
    };

    /// Ephemeral storage that is billed, in GB.
    pub fn billed_storage(&self) -> u32 {
        let all = self.storage_gib.unwrap_or_default();
        all.saturating_sub(FARGATE_STORAGE_INCLUDED_GIB)
    }

    /// The smallest size with at least twice the memory: of the same vCPUs if they offer it, otherwise
    /// of the next ones that do. `None`: Fargate has no such size.
    pub fn twice_the_memory(&self, capacity: Capacity) -> Option<Resources> {
        let wanted = self.memory_mib.checked_mul(2)?;
        if capacity == Capacity::Ec2 {
            return Some(Resources {
                memory_mib: wanted,
                ..*self
            });
        }
        let enough = FARGATE_SIZES.iter().filter(|(vcpu, _)| *vcpu >= self.vcpu);
        let mut sizes = enough.filter_map(|(vcpu, memory)| Some((*vcpu, memory.at_least(wanted)?)));
        let (vcpu, memory_mib) = sizes.next()?;
        Some(Resources {
            vcpu,
            memory_mib,
            ..*self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::fargate_memory;

    #[test]
    fn twice_the_memory_is_always_a_size_of_fargate() {
        let twice = |vcpu, memory_mib| {
            let resources = Resources {
                vcpu,
                memory_mib,
                storage_gib: None,
            };
            let found = resources.twice_the_memory(Capacity::Fargate);
            found.map(|found| (found.vcpu, found.memory_mib))
        };
        assert_eq!(twice(0.25, 512), Some((0.25, 1024)));
        assert_eq!(twice(0.25, 1024), Some((0.25, 2048)));
        assert_eq!(twice(0.25, 2048), Some((0.5, 4096)));
        assert_eq!(twice(0.5, 3072), Some((1.0, 6144)));
        assert_eq!(twice(4.0, 16_384), Some((8.0, 32_768)));
        assert_eq!(twice(16.0, 40_960), Some((16.0, 81_920)));
        assert_eq!(twice(16.0, 122_880), Some((32.0, 249_856)));
        assert_eq!(twice(32.0, 61_440), Some((32.0, 122_880)));
        assert_eq!(twice(32.0, 249_856), None);
        for (vcpu, _) in FARGATE_SIZES {
            for memory in (512..=249_856).step_by(512) {
                if let Some((vcpu, found)) = twice(vcpu, memory) {
                    assert!(found >= 2 * memory);
                    assert!(
                        fargate_memory(vcpu).unwrap().contains(found),
                        "{vcpu} {found}"
                    );
                }
            }
        }
        let on_ec2 = Resources {
            vcpu: 3.0,
            memory_mib: 700,
            storage_gib: None,
        };
        let twice = on_ec2.twice_the_memory(Capacity::Ec2).unwrap();
        assert_eq!((twice.vcpu, twice.memory_mib), (3.0, 1400));
    }
}
