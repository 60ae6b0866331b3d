//! The rules of a hierarchy: the writes of a change, or the reason to refuse it.
//!
//! A chart is valid if exactly one person, the CEO, has no manager, everyone else has a manager in
//! the same chart, there are no cycles, and `ancestors` lists every manager above a person from the
//! CEO down. Each function takes the people involved, from one snapshot of a valid chart, and
//! returns writes after which the chart is valid again.

use super::Employee;
use crate::domain::EmployeeId;

/// The maximum depth: how many ancestors a person may have. A change near the top of a chain
/// rewrites everyone below, each with all ancestors: 1,000 levels are 7 MB in one transaction, and
/// 5,000 did not fit into one (measured).
pub const MAX_DEPTH: usize = 1_000;

/// How many people one change may rewrite. With a database cache of 0.25 GB, the smallest that MongoDB
/// accepts, one transaction holds 20,000 people with their indexes, and not 30,000 (measured).
const MOST_CHANGED: u64 = 20_000;

/// Why a change is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The chart already has a CEO.
    #[error("The chart already has a CEO; give a manager, or promote someone.")]
    HasCeo,
    /// The change would create a cycle.
    #[error("Nobody can report to themselves or to anyone below them.")]
    Cycle,
    /// The CEO cannot be deleted.
    #[error("The CEO cannot be deleted; promote someone else first.")]
    CeoProtected,
    /// Only a promotion changes the CEO.
    #[error("Only a promotion can change who the CEO is.")]
    UsePromote,
    /// Someone would be more than [`MAX_DEPTH`] levels below the CEO.
    #[error("A chart has at most 1000 levels below the CEO.")]
    TooDeep,
    /// The change would rewrite more than 20,000 people.
    #[error(
        "This change affects {0} people, and one change can affect at most 20000; \
         import the chart with replace=true instead."
    )]
    ChangeTooLarge(u64),
    /// An import needs an empty chart.
    #[error("The chart already has people; import with replace=true to replace them.")]
    NotEmpty,
}

/// Which reports of a deleted person get a new manager.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Reparent {
    /// All direct and indirect reports now report to the deleted person's manager.
    #[default]
    All,
    /// Only the direct reports do; they keep their own teams.
    Direct,
}

/// One write to the people of a chart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Write {
    /// Sets a person's manager and ancestors.
    Place {
        /// The person.
        who: EmployeeId,
        /// The new manager.
        manager: Option<EmployeeId>,
        /// The new ancestors.
        ancestors: Vec<EmployeeId>,
    },
    /// Everyone below `who` keeps their manager; `prefix` replaces the first `drop` of their
    /// ancestors.
    Shift {
        /// The person above.
        who: EmployeeId,
        /// How many ancestors to remove at the top.
        drop: usize,
        /// The ancestors to put there.
        prefix: Vec<EmployeeId>,
    },
    /// Everyone except `who`, the people below `who`, and `except` gets `who` as the first
    /// ancestor.
    PutOnTop {
        /// The new top.
        who: EmployeeId,
        /// The person whom another write places.
        except: EmployeeId,
    },
    /// Everyone below `who` now reports to `manager`.
    Gather {
        /// The person above.
        who: EmployeeId,
        /// The new manager.
        manager: EmployeeId,
        /// The new ancestors.
        ancestors: Vec<EmployeeId>,
    },
    /// Removes `who` from the ancestors of everyone below; the direct reports now report to
    /// `manager`.
    Lift {
        /// The person to remove.
        who: EmployeeId,
        /// The new manager of the direct reports.
        manager: EmployeeId,
    },
    /// Deletes a person.
    Remove {
        /// The person.
        who: EmployeeId,
    },
}

/// Returns the ancestors of a new person; the last one is the manager.
///
/// # Errors
/// [`Refusal::HasCeo`] if no manager is given and the chart has a CEO; [`Refusal::TooDeep`].
pub fn hire(manager: Option<&Employee>, has_ceo: bool) -> Result<Vec<EmployeeId>, Refusal> {
    match manager {
        Some(manager) => below(manager),
        None if has_ceo => Err(Refusal::HasCeo),
        None => Ok(Vec::new()),
    }
}

/// Gives `who` another manager; the whole team moves along. `deepest` is the largest number of
/// ancestors in that team, including `who`.
///
/// # Errors
/// [`Refusal::UsePromote`] if the CEO would get a manager, or anyone else would have none;
/// [`Refusal::Cycle`]; [`Refusal::TooDeep`].
pub fn move_to(
    who: &Employee,
    manager: Option<&Employee>,
    deepest: usize,
) -> Result<Vec<Write>, Refusal> {
    let manager = match (who.manager, manager) {
        (None, None) => return Ok(Vec::new()),
        (None, Some(_)) | (Some(_), None) => return Err(Refusal::UsePromote),
        (Some(now), Some(manager)) if now == manager.id => return Ok(Vec::new()),
        (Some(_), Some(manager)) => manager,
    };
    if manager.id == who.id || manager.ancestors.contains(&who.id) {
        return Err(Refusal::Cycle);
    }
    let ancestors = below(manager)?;
    if deepest - who.ancestors.len() + ancestors.len() > MAX_DEPTH {
        return Err(Refusal::TooDeep);
    }
    let shift = Write::Shift { who: who.id, drop: who.ancestors.len(), prefix: ancestors.clone() };
    Ok(vec![shift, Write::Place { who: who.id, manager: Some(manager.id), ancestors }])
}

/// Removes `who` from the chart.
///
/// # Errors
/// [`Refusal::CeoProtected`] if `who` is the CEO.
pub fn remove(who: &Employee, reparent: Reparent) -> Result<Vec<Write>, Refusal> {
    let manager = who.manager.ok_or(Refusal::CeoProtected)?;
    let reports = match reparent {
        Reparent::All => Write::Gather { who: who.id, manager, ancestors: who.ancestors.clone() },
        Reparent::Direct => Write::Lift { who: who.id, manager },
    };
    Ok(vec![reports, Write::Remove { who: who.id }])
}

/// Makes `who` the CEO. The previous CEO reports to the new one, and everyone else keeps their
/// manager. `deepest` is the largest number of ancestors in the chart.
///
/// # Errors
/// [`Refusal::TooDeep`].
pub fn promote(who: &Employee, ceo: EmployeeId, deepest: usize) -> Result<Vec<Write>, Refusal> {
    if who.id == ceo {
        return Ok(Vec::new());
    }
    if deepest + 1 > MAX_DEPTH {
        return Err(Refusal::TooDeep);
    }
    Ok(vec![
        // The order matters: people put below the new CEO must not be mistaken for the old team.
        Write::Shift { who: who.id, drop: who.ancestors.len(), prefix: Vec::new() },
        Write::PutOnTop { who: who.id, except: ceo },
        Write::Place { who: ceo, manager: Some(who.id), ancestors: vec![who.id] },
        Write::Place { who: who.id, manager: None, ancestors: Vec::new() },
    ])
}

/// Checks how many people a change rewrites.
///
/// # Errors
/// [`Refusal::ChangeTooLarge`].
pub const fn limit_change(people: u64) -> Result<(), Refusal> {
    if people > MOST_CHANGED { Err(Refusal::ChangeTooLarge(people)) } else { Ok(()) }
}

fn below(manager: &Employee) -> Result<Vec<EmployeeId>, Refusal> {
    if manager.ancestors.len() >= MAX_DEPTH {
        return Err(Refusal::TooDeep);
    }
    let mut ancestors = manager.ancestors.clone();
    ancestors.push(manager.id);
    Ok(ancestors)
}

impl Refusal {
    /// The stable error code in REST and GraphQL.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::HasCeo => "chart_has_ceo",
            Self::Cycle => "chart_cycle",
            Self::CeoProtected => "chart_ceo_protected",
            Self::UsePromote => "chart_use_promote",
            Self::TooDeep => "chart_too_deep",
            Self::ChangeTooLarge(_) => "chart_change_too_large",
            Self::NotEmpty => "chart_not_empty",
        }
    }
}

#[cfg(test)]
#[path = "hierarchy_tests.rs"]
mod tests;
