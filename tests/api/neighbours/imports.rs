//! Ten large imports at once by one tenant.

use futures::future::join_all;

use super::{MOST_MEMORY, beside};
use crate::{
    lists::import,
    support::{Chart, Database, ServerProcess, peak_bytes, resident_bytes},
};

const IMPORTS: usize = 10;

fn list(people: usize) -> String {
    let reports = (2..=people).map(|id| format!("{id},Person {id},Hand,1\n"));
    format!("id,name,title,manager_id\n1,Chief,Chief,\n{}", reports.collect::<String>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_imports_at_once_keep_no_other_tenant_from_its_large_chart() {
    let database = Database::new().await;
    let server = ServerProcess::start(&database);
    let (loud, quiet) = (server.client.sign_up("Loud").await, server.client.sign_up("Quiet").await);
    let own = Chart::create(&server.client.with(&quiet.token), "Own").await;
    import(&own, "", list(6_000)).await.expect(200);
    let mut charts = Vec::new();
    for number in 0..IMPORTS {
        let name = format!("Chart {number}");
        charts.push(Chart::create(&server.client.with(&loud.token), &name).await);
    }
    let idle = resident_bytes(server.pid());
    let replies = beside(&server.client, &quiet, async {
        let abuse =
            join_all(charts.iter().map(|chart| import(chart, "?replace=true", list(30_000))));
        let reads = async {
            for _ in 0..5 {
                own.client.get(&own.path("/tree")).await.expect(200);
            }
        };
        tokio::join!(abuse, reads).0
    })
    .await;
    let done = replies.iter().filter(|reply| reply.status == 200).count();
    let busy = replies.iter().filter(|reply| reply.body["code"] == "busy").count();
    assert!(done > 0 && done + busy == IMPORTS, "{replies:?}");
    let grown = peak_bytes(server.pid()).saturating_sub(idle);
    assert!(grown < MOST_MEMORY, "{} MiB more than idle", grown >> 20);
    drop(server);
    database.drop_all();
}
