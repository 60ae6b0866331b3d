//! The part of `tenantry verify` that checks the documents of a tenant.

use chrono::{DateTime, Utc};

use super::{
    no_hurry,
    verify::{Finding, Verifier},
};
use crate::{
    domain::{AccountId, OrgId, charts, tenancy::Location},
    error::Result,
    store::{
        Store,
        charts::Team,
        driver::StoreError,
        tenant::{TenantReader, TenantStore},
    },
};

impl Verifier<'_> {
    /// Checks every chart and every seat of one tenant. A tenant that looks wrong is read again in
    /// one snapshot, because it may have changed between reads.
    pub(super) async fn check_tenant(&self, org: OrgId, place: &Location) -> Result<Vec<Finding>> {
        let tenant = self.store.tenant(org, place);
        let now = self.clock.now();
        let (mut findings, holders) = audit(&mut tenant.reader(), self.store, org, now).await?;
        if !findings.is_empty() {
            findings = self.check_again(&tenant, org, now).await?;
        }
        // A mass cancellation will free the seats of members who left.
        let known = self.store.accounts_among(org, &holders).await?;
        if known.len() < holders.len() && !self.store.has_tasks(org).await? {
            findings.push(Finding::WrongSeats(org, "has seats held by nobody".to_owned()));
        }
        Ok(findings)
    }

    async fn check_again(
        &self,
        tenant: &TenantStore,
        org: OrgId,
        now: DateTime<Utc>,
    ) -> Result<Vec<Finding>> {
        let again = self
            .store
            .fenced(no_hurry(), tenant, "verify.tenant", self.store, move |tx, store| {
                Box::pin(async move { audit(&mut tx.into_reader(), store, org, now).await })
            })
            .await;
        match again {
            // The tenant was renamed or deleted in the meantime.
            Err(error) if StoreError::is_fence_missing(&error) => Ok(Vec::new()),
            audited => Ok(audited?.0),
        }
    }
}

async fn audit(
    reader: &mut TenantReader<'_>,
    store: &Store,
    org: OrgId,
    now: DateTime<Utc>,
) -> Result<(Vec<Finding>, Vec<AccountId>)> {
    let mut findings = Vec::new();
    let charts = reader.charts(None, 0).await?;
    for chart in &charts {
        let people = reader.employees(chart.edition, Team::All, None, 0).await?;
        let flaws = charts::flaws(chart, &people).into_iter();
        findings.extend(flaws.map(|flaw| Finding::BrokenChart(org, chart.id, flaw)));
    }
    let shown: Vec<_> = charts.iter().map(|chart| chart.edition).collect();
    if reader.stray_people(store, &shown).await? > 0 {
        findings.push(Finding::UncountedEmployees(org));
    }
    let invariants = reader.invariants().await?;
    let flaws = invariants.flaws(now).into_iter();
    findings.extend(flaws.map(|flaw| Finding::WrongSeats(org, flaw)));
    Ok((findings, invariants.holders(now).into_iter().collect()))
}
