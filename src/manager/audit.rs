//! The part of `tenantry verify` that looks into tenants.

use super::{TenantManager, verify::Finding};
use crate::{
    domain::{self, Location, OrgId},
    error::{Error, Result},
    store::{Kind, StoreError, Team, TenantReader},
};

impl TenantManager {
    /// Checks every chart of one tenant. What looks wrong is read again in one snapshot: it may
    /// have changed between two reads.
    pub(super) async fn check_charts(&self, org: OrgId, place: &Location) -> Result<Vec<Finding>> {
        let tenant = self.store.tenant(org, place);
        if audit(&mut tenant.reader(), org).await?.is_empty() {
            return Ok(Vec::new());
        }
        let again = self
            .store
            .fenced(&tenant, "verify.charts", (), move |tx, ()| {
                Box::pin(async move { audit(&mut tx.into_reader(), org).await })
            })
            .await;
        match again {
            // Renamed or deleted meanwhile, which is no flaw.
            Err(Error::Store(StoreError::FenceMissing)) => Ok(Vec::new()),
            findings => findings,
        }
    }
}

async fn audit(reader: &mut TenantReader<'_>, org: OrgId) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut counted = 0;
    for chart in reader.charts(None, 0).await? {
        let people = reader.employees(chart.id, Team::All, None, 0).await?;
        counted += people.len() as u64;
        let flaws = domain::flaws(&chart, &people).into_iter();
        findings.extend(flaws.map(|flaw| Finding::BrokenChart(org, chart.id, flaw)));
    }
    if reader.count(Kind::Employee).await? != counted {
        findings.push(Finding::UncountedEmployees(org));
    }
    Ok(findings)
}
