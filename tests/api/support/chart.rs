//! Org charts of a test.

use serde_json::{Value, json};

use super::Client;

/// A chart and a client that may change it.
#[derive(Clone)]
pub struct Chart {
    pub id: i64,
    pub client: Client,
}

/// The ids in a list.
pub fn ids(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
}

impl Chart {
    pub async fn create(client: &Client, name: &str) -> Self {
        let created = client.post("/orgcharts", json!({ "name": name })).await.expect(201);
        let id = created.body["id"].as_i64().unwrap();
        assert_eq!(created.headers["location"], format!("/orgcharts/{id}"));
        Self { id, client: client.clone() }
    }

    pub fn path(&self, rest: &str) -> String {
        format!("/orgcharts/{}{rest}", self.id)
    }

    pub async fn hire(&self, name: &str, manager: Option<i64>) -> i64 {
        let body = json!({ "name": name, "title": "Engineer", "manager_id": manager });
        let hired = self.client.post(&self.path("/employees"), body).await.expect(201);
        hired.body["id"].as_i64().unwrap()
    }

    /// All employees, read page by page.
    pub async fn people(&self) -> Vec<Value> {
        let (mut people, mut cursor) = (Vec::new(), 0);
        loop {
            let after = if cursor > 0 { format!("&cursor={cursor}") } else { String::new() };
            let path = self.path(&format!("/employees?limit=1000{after}"));
            let page = self.client.get(&path).await.expect(200).body;
            let page = page.as_array().unwrap();
            people.extend(page.iter().cloned());
            if page.len() < 1000 {
                return people;
            }
            cursor = people.last().unwrap()["id"].as_i64().unwrap();
        }
    }

    /// Each employee's manager, ordered by employee id.
    pub async fn managers(&self) -> Vec<Option<i64>> {
        self.people().await.iter().map(|person| person["manager_id"].as_i64()).collect()
    }
}
