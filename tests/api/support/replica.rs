//! Three `mongod` processes that keep the same data, of which a test may kill some.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bson::{Bson, Document, doc};
use mongodb::{
    Client,
    options::{ClientOptions, ServerAddress},
};
use rustix::process::{Pid, Signal, kill_process};

use super::{database::mongod_program, eventually};

/// A replica set that elects a new primary within a second or two.
pub struct ReplicaSet {
    nodes: Vec<Node>,
    program: PathBuf,
}

struct Node {
    port: u16,
    dir: PathBuf,
    process: Child,
}

impl ReplicaSet {
    /// Starts the nodes in `dir` and waits for a primary.
    pub async fn start(dir: &Path) -> Self {
        let _ = std::fs::remove_dir_all(dir);
        let program = mongod_program().await;
        let nodes = (0..3).map(|number| {
            let (port, dir) = (free_port(), dir.join(number.to_string()));
            std::fs::create_dir_all(&dir).unwrap();
            let process = launch(&program, port, &dir);
            Node { port, dir, process }
        });
        let set = Self { nodes: nodes.collect(), program };
        let members = set.nodes.iter().enumerate().map(|(number, node)| {
            let number = i32::try_from(number).unwrap();
            Bson::from(doc! { "_id": number, "host": format!("127.0.0.1:{}", node.port) })
        });
        let config = doc! {
            "_id": "storm",
            "members": members.collect::<Vec<_>>(),
            "settings": { "electionTimeoutMillis": 1_000, "heartbeatIntervalMillis": 250 },
        };
        eventually("the replica set", || async {
            let initiate = doc! { "replSetInitiate": config.clone() };
            set.ask(0, initiate).await.is_some()
        })
        .await;
        set.primary().await;
        set
    }

    pub fn uri(&self) -> String {
        let hosts = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        format!("mongodb://{}/?replicaSet=storm", hosts.collect::<Vec<_>>().join(","))
    }

    /// Waits until one of the nodes that live takes writes; its number.
    pub async fn primary(&self) -> usize {
        let found = std::cell::Cell::new(None);
        eventually("a primary", || async {
            for node in 0..self.nodes.len() {
                let hello = self.ask(node, doc! { "hello": 1 }).await.unwrap_or_default();
                if hello.get_bool("isWritablePrimary").unwrap_or_default() {
                    found.set(Some(node));
                }
            }
            found.get().is_some()
        })
        .await;
        found.get().unwrap()
    }

    /// Kills a node as hard as can be.
    pub fn kill(&mut self, node: usize) {
        let process = &mut self.nodes[node].process;
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Stops a node or lets it go on.
    pub fn signal(&self, node: usize, signal: Signal) {
        let id = i32::try_from(self.nodes[node].process.id()).ok().and_then(Pid::from_raw);
        kill_process(id.unwrap(), signal).unwrap();
    }

    /// Starts a node that was killed, and waits until it has caught up.
    pub async fn start_again(&mut self, node: usize) {
        let Node { port, dir, process } = &mut self.nodes[node];
        *process = launch(&self.program, *port, dir);
        eventually("the node", || async {
            let hello = self.ask(node, doc! { "hello": 1 }).await.unwrap_or_default();
            hello.get_bool("secondary").unwrap_or_default()
        })
        .await;
    }

    /// What one node says, if it is there.
    async fn ask(&self, node: usize, command: Document) -> Option<Document> {
        let host = Ipv4Addr::LOCALHOST.to_string();
        let address = ServerAddress::Tcp { host, port: Some(self.nodes[node].port) };
        let options = ClientOptions::builder()
            .hosts(vec![address])
            .direct_connection(true)
            .server_selection_timeout(Duration::from_millis(500))
            .connect_timeout(Duration::from_millis(500))
            .build();
        let client = Client::with_options(options).unwrap();
        client.database("admin").run_command(command).await.ok()
    }
}

impl Drop for ReplicaSet {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _ = node.process.kill();
            let _ = node.process.wait();
            let _ = std::fs::remove_dir_all(&node.dir);
        }
    }
}

fn launch(program: &Path, port: u16, dir: &Path) -> Child {
    let mut command = Command::new(program);
    command.arg("--dbpath").arg(dir).arg("--logpath").arg(dir.join("mongod.log"));
    command.args(["--logappend", "--port", &port.to_string(), "--bind_ip", "127.0.0.1"]);
    command.args(["--nounixsocket", "--replSet", "storm", "--oplogSize", "64"]);
    command.args(["--wiredTigerCacheSizeGB", "0.25"]);
    command.args(["--setParameter", "diagnosticDataCollectionEnabled=false"]);
    command.args(["--setParameter", "transactionLifetimeLimitSeconds=4"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A port below those that the system gives to outgoing connections.
pub fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(|| rand::random_range(20_000..32_000)).find(free).unwrap()
}
