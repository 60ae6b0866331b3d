//! The stored form of charts and employees.

use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        ChartId, EmployeeId, Label, OrgId,
        charts::{Chart, Edition, Employee},
    },
    store::tenant::Kind,
};

#[derive(Deserialize, Serialize)]
pub(in crate::store) struct ChartDoc {
    #[serde(rename = "_id")]
    key: ChartKey,
    /// The number of the edition; absent for the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edition: Option<i64>,
    name: String,
    ceo: Option<i64>,
    employee_count: i64,
    pub(in crate::store) next_employee: i64,
    structure_version: i64,
    created_at: bson::DateTime,
    updated_at: bson::DateTime,
}

#[derive(Deserialize, Serialize)]
pub(in crate::store) struct ChartKey {
    org: bson::oid::ObjectId,
    kind: String,
    chart: i64,
}

#[derive(Deserialize, Serialize)]
pub(in crate::store) struct EmployeeDoc {
    #[serde(rename = "_id")]
    key: EmployeeKey,
    name: String,
    title: String,
    manager: Option<i64>,
    #[serde(default)]
    ancestors: Vec<i64>,
    created_at: bson::DateTime,
    updated_at: bson::DateTime,
}

#[derive(Deserialize, Serialize)]
pub(in crate::store) struct EmployeeKey {
    org: bson::oid::ObjectId,
    kind: String,
    chart: i64,
    employee: i64,
}

impl From<ChartDoc> for Chart {
    fn from(doc: ChartDoc) -> Self {
        let id = doc.key.chart.into();
        Self {
            id,
            edition: Edition::of(id, doc.edition),
            name: Label::from_stored(doc.name),
            ceo: doc.ceo.map(EmployeeId::from),
            employee_count: doc.employee_count,
            structure_version: doc.structure_version,
            created_at: doc.created_at.to_chrono(),
            updated_at: doc.updated_at.to_chrono(),
        }
    }
}

impl EmployeeDoc {
    pub(in crate::store) fn into_employee(self, chart: ChartId) -> Employee {
        Employee {
            id: self.key.employee.into(),
            chart,
            name: Label::from_stored(self.name),
            title: Label::from_stored(self.title),
            manager: self.manager.map(EmployeeId::from),
            ancestors: self.ancestors.into_iter().map(EmployeeId::from).collect(),
            created_at: self.created_at.to_chrono(),
            updated_at: self.updated_at.to_chrono(),
        }
    }

    pub(in crate::store) fn of(org: OrgId, edition: Edition, employee: &Employee) -> Self {
        Self {
            key: EmployeeKey {
                org: org.object_id(),
                kind: Kind::Employee.as_ref().to_owned(),
                chart: edition.number(),
                employee: employee.id.get(),
            },
            name: employee.name.as_str().to_owned(),
            title: employee.title.as_str().to_owned(),
            manager: employee.manager.map(EmployeeId::get),
            ancestors: employee.ancestors.iter().map(|id| id.get()).collect(),
            created_at: bson::DateTime::from_chrono(employee.created_at),
            updated_at: bson::DateTime::from_chrono(employee.updated_at),
        }
    }
}
