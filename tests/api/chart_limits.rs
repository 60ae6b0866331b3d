//! Org charts at their limits, written directly to the database, and what its validator refuses.

use std::fmt::Write as _;

use std::collections::{BTreeMap, HashMap};

use bson::{Bson, Document, RawDocumentBuf, doc, oid::ObjectId};
use futures::TryStreamExt;
use mongodb::{
    Collection,
    error::{ErrorKind, WriteFailure},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Chart, Client, Database, Org, TestApp, ids};

/// A chart as stored in the database.
pub(crate) struct Stored {
    pub(crate) collection: Collection<Document>,
    org: ObjectId,
    chart: i64,
}

/// Each employee's manager.
pub(crate) type Managers = BTreeMap<i64, Option<i64>>;

impl Stored {
    /// A chart of the organization "Acme".
    pub(crate) async fn of(database: &Database, org: &Org, chart: &Chart) -> Self {
        let collection = database.tenant("org_acme").await;
        Self { collection, org: org.id.parse().unwrap(), chart: chart.id }
    }

    pub(crate) fn key(&self, employee: i64) -> Document {
        doc! { "org": self.org, "kind": "employee", "chart": self.chart, "employee": employee }
    }

    /// Fills an empty chart with the employees 1 to `count`; `ancestors` is an expression over the
    /// employee's number `$n`. The database generates the documents, which is fast even for 170 MB.
    pub(crate) async fn fill(&self, count: i64, ancestors: Document) {
        let long = doc! { "$map": { "input": ancestors, "in": { "$toLong": "$$this" } } };
        let mut id = self.key(0);
        id.insert("org", doc! { "$literal": self.org });
        id.insert("chart", doc! { "$literal": self.chart });
        id.insert("employee", doc! { "$toLong": "$n" });
        let now = bson::DateTime::now();
        let people = [
            doc! { "$documents": [{ "n": { "$range": [1, count + 1] } }] },
            doc! { "$unwind": "$n" },
            doc! { "$project": { "_id": id, "name": "Person", "title": "Engineer", "ancestors": long } },
            doc! { "$set": { "manager": { "$ifNull": [{ "$last": "$ancestors" }, Bson::Null] } } },
            doc! { "$set": { "created_at": now, "updated_at": now } },
            doc! { "$merge": { "into": self.collection.name(), "whenMatched": "fail" } },
        ];
        let database = self.collection.client().database(&self.collection.namespace().db);
        database.aggregate(people).await.unwrap();
        let chart = doc! { "_id": { "org": self.org, "kind": "chart", "chart": self.chart } };
        let set = doc! { "ceo": 1_i64, "employee_count": count, "next_employee": count };
        self.collection.update_one(chart, doc! { "$set": set }).await.unwrap();
    }

    /// The raw bytes of every document of the tenant.
    pub(crate) async fn dump(&self) -> Vec<RawDocumentBuf> {
        self.find(doc! {}).await
    }

    async fn find(&self, filter: Document) -> Vec<RawDocumentBuf> {
        let raw = self.collection.clone_with_type::<RawDocumentBuf>();
        raw.find(filter).sort(doc! { "_id": 1 }).await.unwrap().try_collect().await.unwrap()
    }

    /// The managers; panics if the chart is invalid.
    #[track_caller]
    pub(crate) fn assert_valid(&self) -> impl Future<Output = Managers> {
        let caller = std::panic::Location::caller();
        async move { self.managers().await.unwrap_or_else(|why| panic!("{caller}: {why}")) }
    }

    /// The managers, or what is wrong. In a valid chart, only the CEO has no manager, the chart
    /// counts its people, and everyone's ancestors are the manager's ancestors plus the manager.
    /// This also excludes cycles, because ancestors get longer on the way down.
    pub(crate) async fn managers(&self) -> Result<Managers, String> {
        let kind = |kind| doc! { "_id.kind": kind, "_id.chart": self.chart };
        let (chart, people) = (self.find(kind("chart")).await, self.find(kind("employee")).await);
        let mut managers = Managers::new();
        let mut above: HashMap<i64, &[u8]> = HashMap::new();
        for person in &people {
            let id = person.get_document("_id").unwrap().get_i64("employee").unwrap();
            let manager = person.get("manager").unwrap().unwrap().as_i64();
            let list = person.get_array("ancestors").unwrap().as_bytes();
            managers.insert(id, manager);
            above.insert(id, &list[4..list.len() - 1]);
        }
        for (id, manager) in &managers {
            let fits = match manager {
                None => above[id].is_empty(),
                Some(manager) => above
                    .get(manager)
                    .and_then(|theirs| above[id].strip_prefix(*theirs))
                    .is_some_and(|last| is_element(last, *manager)),
            };
            if !fits {
                return Err(format!("{id} reports to {manager:?} and has other ancestors"));
            }
        }
        let ceos: Vec<i64> =
            managers.iter().filter(|(_, m)| m.is_none()).map(|(id, _)| *id).collect();
        let named = (chart[0].get_i64("ceo").unwrap(), chart[0].get_i64("employee_count").unwrap());
        if ceos != [named.0] || Ok(named.1) != i64::try_from(managers.len()) {
            return Err(format!("{named:?} for the CEOs {ceos:?} and {} people", managers.len()));
        }
        Ok(managers)
    }
}

/// Whether these bytes are one element of a BSON array, the 64-bit number `value`.
fn is_element(bytes: &[u8], value: i64) -> bool {
    let Some((index, number)) = bytes.split_last_chunk::<8>() else { return false };
    let index = index.strip_prefix(&[0x12]).and_then(|index| index.strip_suffix(&[0]));
    index.is_some_and(|index| !index.is_empty() && index.iter().all(u8::is_ascii_digit))
        && *number == value.to_le_bytes()
}

/// Reads `/tree` without recursion and asserts that it is one tree, in which each person is nested
/// in their manager.
pub(crate) async fn read_tree(chart: &Chart) -> Managers {
    let text = chart.client.get(&chart.path("/tree")).await.expect(200).raw;
    let (mut managers, mut open) = (Managers::new(), Vec::new());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => {
                let (fields, _) = text[at..].split_once(",\"reports\":[").unwrap();
                let person: Value = serde_json::from_str(&format!("{fields}}}")).unwrap();
                let id = person["id"].as_i64().unwrap();
                assert_eq!(person["manager_id"].as_i64(), open.last().copied(), "{text}");
                assert_eq!(managers.insert(id, open.last().copied()), None, "{text}");
                open.push(id);
            }
            b'}' => assert!(open.pop().is_some(), "{text}"),
            _ => {}
        }
    }
    assert!(open.is_empty(), "{text}");
    assert_eq!(managers.values().filter(|m| m.is_none()).count(), 1, "{text}");
    managers
}

/// The ids of a list, page by page, following the links.
async fn ids_of_pages(chart: &Chart, path: &str) -> Vec<Vec<i64>> {
    let (mut pages, mut next) = (Vec::new(), Some(chart.path(path)));
    while let Some(path) = next {
        let page = chart.client.get(&path).await.expect(200);
        pages.push(ids(&page.body));
        let link = page.headers.get("link").map(|link| link.to_str().unwrap());
        next = link.map(|link| link[1..].split_once('>').unwrap().0.to_owned());
    }
    pages
}

/// An empty chart of the organization "Acme".
pub(crate) async fn prepared() -> (TestApp, Chart, Stored) {
    let app = TestApp::start().await;
    let org = app.sign_up("Acme").await;
    let chart = Chart::create(&app.with(&org.token), "Engineering").await;
    let stored = Stored::of(&app.database, &org, &chart).await;
    (app, chart, stored)
}

async fn hire_below(chart: &Chart, manager: i64) -> crate::support::Reply {
    let body = json!({ "name": "X", "title": "Y", "manager_id": manager });
    chart.client.post(&chart.path("/employees"), body).await
}

#[tokio::test]
async fn a_chain_of_a_thousand_levels_can_be_read_and_changed_but_not_deepened() {
    const LOWEST: i64 = 1_001;
    let (app, chart, stored) = prepared().await;
    stored.fill(LOWEST, doc! { "$range": [1, "$n"] }).await;

    let pages = ids_of_pages(&chart, &format!("/employees/{LOWEST}/manager_chain?limit=300")).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [300, 300, 300, 100]);
    assert!(pages.concat().into_iter().eq((1..LOWEST).rev()));
    let tree = read_tree(&chart).await;
    assert!(tree.into_iter().eq((1..=LOWEST).map(|n| (n, (n > 1).then_some(n - 1)))));

    hire_below(&chart, LOWEST).await.refused(409, "chart_too_deep");
    let promote = chart.path(&format!("/employees/{LOWEST}/promote"));
    Client::send(chart.client.request(Method::PUT, &promote)).await.refused(409, "chart_too_deep");
    hire_below(&chart, LOWEST - 1).await.expect(201);

    leave_chain(&chart, 500).await;
    assert_eq!(stored.assert_valid().await, read_tree(&chart).await);
    hire_below(&chart, LOWEST).await.expect(201);
    app.assert_sound().await;
}

#[tokio::test]
async fn a_list_of_five_thousand_levels_is_refused() {
    let (_app, chart, _) = prepared().await;
    let mut list = "id,name,title,manager_id\n1,Ada,CEO,\n".to_owned();
    for id in 2..=5_001 {
        writeln!(list, "{id},Person,Engineer,{}", id - 1).unwrap();
    }
    let request = chart.client.request(Method::POST, &chart.path("/import"));
    let request = request.header("content-type", "text/csv").body(list);
    let refused = Client::send(request).await.invalid(&["line 1003"]);
    assert!(refused.body["errors"][0]["message"].as_str().unwrap().contains("1001 levels"));
}

/// Removes one person from a chain; their team stays intact.
async fn leave_chain(chart: &Chart, who: i64) {
    let mut managers = read_tree(chart).await;
    let path = chart.path(&format!("/employees/{who}?reparent=direct"));
    let left = chart.client.delete(&path).await.expect(200);
    assert_eq!(left.body, json!({ "id": who, "new_manager_id": who - 1, "reassigned": 1 }));
    managers.remove(&who);
    managers.insert(who + 1, Some(who - 1));
    assert_eq!(read_tree(chart).await, managers);
}

#[tokio::test]
async fn a_manager_of_twenty_thousand_is_read_in_pages_and_leaves_in_one_step() {
    const REPORTS: i64 = 20_000;
    let (app, chart, stored) = prepared().await;
    let above = doc! { "$filter": { "input": [1, 2], "cond": { "$lt": ["$$this", "$n"] } } };
    stored.fill(REPORTS + 2, above).await;

    let pages = ids_of_pages(&chart, "/employees/2/direct_reports?limit=1000").await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1000; 20]);
    assert!(pages.concat().into_iter().eq(3..=REPORTS + 2));

    let left = chart.client.delete(&chart.path("/employees/2")).await.expect(200);
    assert_eq!(left.body, json!({ "id": 2, "new_manager_id": 1, "reassigned": REPORTS }));
    let managers = stored.assert_valid().await;
    assert!(managers.values().skip(1).all(|manager| *manager == Some(1)));
    assert_eq!(managers.len(), 20_001);
    app.assert_sound().await;
}

#[tokio::test]
async fn the_database_refuses_employees_whose_ancestors_do_not_fit_their_manager() {
    let (_app, chart, stored) = prepared().await;
    for manager in [None, Some(1), Some(2)] {
        chart.hire("Person", manager).await;
    }
    let before = stored.dump().await;
    for (what, manager, ancestors) in [
        ("their own manager", Some(3_i64), vec![1_i64, 2]),
        ("their own manager and ancestor", Some(3), vec![1, 2, 3]),
        ("among their own ancestors", Some(2), vec![1, 3, 2]),
        ("ancestors of another manager", Some(1), vec![1, 2]),
        ("no ancestors, but a manager", Some(2), vec![]),
        ("ancestors, but no manager", None, vec![1, 2]),
    ] {
        let place = doc! { "manager": manager, "ancestors": ancestors.clone() };
        let filter = doc! { "_id": stored.key(3) };
        let update = stored.collection.update_one(filter, doc! { "$set": place }).await;
        assert_refused(what, update);
        // The database also refuses to insert a new employee like that.
        let shifted = |id: i64| if id == 3 { 4 } else { id };
        let mut newcomer = doc! { "_id": stored.key(4), "manager": manager.map(shifted) };
        newcomer.insert("ancestors", ancestors.into_iter().map(shifted).collect::<Vec<_>>());
        assert_refused(what, stored.collection.insert_one(newcomer).await);
    }
    assert_eq!(stored.dump().await, before);
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(what: &str, outcome: mongodb::error::Result<T>) {
    let error = outcome.expect_err(what);
    let ErrorKind::Write(WriteFailure::WriteError(e)) = error.kind.as_ref() else {
        panic!("{what}: {error}");
    };
    assert_eq!(e.code, 121, "{what}: {error}");
}
