//! The settings of password hashing.

use argon2::Params;
use serde::Deserialize;
use validator::{Validate, ValidationError};

use crate::shape::rule;

/// The cost of a hash and the limits of hashing. The default cost is the OWASP minimum for argon2id
/// (Password Storage Cheat Sheet): 19 MiB, two passes, one lane.
#[derive(Clone, Copy, Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[validate(schema(function = has_memory))]
pub struct HashParameters {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    #[validate(range(min = Params::MIN_T_COST))]
    pub iterations: u32,
    /// Lanes.
    #[validate(range(min = Params::MIN_P_COST, max = Params::MAX_P_COST))]
    pub parallelism: u32,
    /// How many hashes run at once; 0 means the number of cores minus one, but at least one.
    pub concurrency: usize,
    /// How many jobs may wait. Beyond that, the client with the most jobs in the queue gets "busy".
    pub queue: usize,
}

/// argon2 needs eight blocks of 1 KiB per lane.
fn has_memory(hash: &HashParameters) -> Result<(), ValidationError> {
    let enough = u64::from(hash.memory_kib) >= 8 * u64::from(hash.parallelism);
    rule(enough, "HASH_MEMORY_KIB must be at least 8 times HASH_PARALLELISM")
}
