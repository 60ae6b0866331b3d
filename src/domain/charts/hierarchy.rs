//! The rules of a hierarchy: what a change of it writes, or why it must not be.
//!
//! A chart is valid when exactly one person, the CEO, has no manager, everybody else has one in the
//! same chart, nobody is above themselves, and `ancestors` names everybody above from the CEO down.
//! Each function takes the people that the change is about, as they are in one snapshot of a valid
//! chart, and returns writes after which the chart is valid again.

use super::Employee;
use crate::domain::EmployeeId;

/// The most people that may stand above anybody. A change near the top of a chain rewrites all that
/// stand below, each with everybody above: a thousand levels are 7 MB in one transaction, five
/// thousand were more than one could hold (measured).
pub const MAX_DEPTH: usize = 1_000;

/// Why a change must not be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// There is a CEO already.
    #[error("The chart has a CEO already; name a manager, or promote somebody.")]
    HasCeo,
    /// Somebody would be above themselves.
    #[error("Nobody can report to themselves or to somebody below them.")]
    Cycle,
    /// The CEO cannot be deleted.
    #[error("The CEO cannot be deleted; promote somebody else first.")]
    CeoProtected,
    /// Who is the CEO changes by promotion alone.
    #[error("Who leads the chart changes by promotion alone.")]
    UsePromote,
    /// Too many people would stand above somebody.
    #[error("A chart has at most 1000 levels below the CEO.")]
    TooDeep,
    /// An import needs an empty chart.
    #[error("The chart has people already; import with replace=true to replace them.")]
    NotEmpty,
}

/// Whom the reports of somebody who leaves go to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Reparent {
    /// Every direct and indirect report now reports to the manager of who leaves.
    #[default]
    All,
    /// Only the direct ones do; their own teams stay with them.
    Direct,
}

/// One write to the people of a chart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Write {
    /// That person gets this place.
    Place {
        /// Who.
        who: EmployeeId,
        /// The new manager.
        manager: Option<EmployeeId>,
        /// Everybody above from now on.
        ancestors: Vec<EmployeeId>,
    },
    /// Everybody below `who` keeps their manager; the first `drop` of those above them are replaced
    /// by `prefix`.
    Shift {
        /// Below whom.
        who: EmployeeId,
        /// How many to take away at the top.
        drop: usize,
        /// What to put there.
        prefix: Vec<EmployeeId>,
    },
    /// Everybody who is neither `who`, nor below, nor `except`, gets `who` on top of all.
    PutOnTop {
        /// Who goes on top.
        who: EmployeeId,
        /// Who is placed by a write of its own.
        except: EmployeeId,
    },
    /// Everybody below `who` now reports to `manager`.
    Gather {
        /// Below whom.
        who: EmployeeId,
        /// The new manager.
        manager: EmployeeId,
        /// Everybody above from now on.
        ancestors: Vec<EmployeeId>,
    },
    /// `who` is taken out from above everybody below; the direct reports now report to `manager`.
    Lift {
        /// Who is taken out.
        who: EmployeeId,
        /// The manager of the direct reports from now on.
        manager: EmployeeId,
    },
    /// That person is gone.
    Remove {
        /// Who.
        who: EmployeeId,
    },
}

/// The ancestors of a new person, the last of whom is the manager.
///
/// # Errors
/// [`Refusal::HasCeo`] without a manager where there is a CEO; [`Refusal::TooDeep`].
pub fn hire(manager: Option<&Employee>, has_ceo: bool) -> Result<Vec<EmployeeId>, Refusal> {
    match manager {
        Some(manager) => below(manager),
        None if has_ceo => Err(Refusal::HasCeo),
        None => Ok(Vec::new()),
    }
}

/// Gives `who` another manager; the whole team comes along. `deepest` is how many people stand
/// above the lowest person of that team, or above `who` if there is no team.
///
/// # Errors
/// [`Refusal::UsePromote`] when the CEO would get a manager, or somebody else none;
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

/// Takes `who` out of the chart.
///
/// # Errors
/// [`Refusal::CeoProtected`].
pub fn remove(who: &Employee, reparent: Reparent) -> Result<Vec<Write>, Refusal> {
    let manager = who.manager.ok_or(Refusal::CeoProtected)?;
    let reports = match reparent {
        Reparent::All => Write::Gather { who: who.id, manager, ancestors: who.ancestors.clone() },
        Reparent::Direct => Write::Lift { who: who.id, manager },
    };
    Ok(vec![reports, Write::Remove { who: who.id }])
}

/// Makes `who` the CEO; the one of before reports to the new one, all others keep their manager.
/// `deepest` is how many people stand above the lowest person of the chart.
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
        // In this order: who is put below the new CEO must not be taken for the team of before.
        Write::Shift { who: who.id, drop: who.ancestors.len(), prefix: Vec::new() },
        Write::PutOnTop { who: who.id, except: ceo },
        Write::Place { who: ceo, manager: Some(who.id), ancestors: vec![who.id] },
        Write::Place { who: who.id, manager: None, ancestors: Vec::new() },
    ])
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
    /// The stable code of REST and GraphQL.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::HasCeo => "chart_has_ceo",
            Self::Cycle => "chart_cycle",
            Self::CeoProtected => "chart_ceo_protected",
            Self::UsePromote => "chart_use_promote",
            Self::TooDeep => "chart_too_deep",
            Self::NotEmpty => "chart_not_empty",
        }
    }
}

#[cfg(test)]
#[path = "hierarchy_tests.rs"]
mod tests;
