//! A replica set of three `mongod` processes that a test may kill.

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
use rustix::process::Signal;

use super::{database::mongod_program, eventually, process::send_signal};

/// A replica set that elects a new primary within one or two seconds.
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
            set.run(0, initiate).await.is_some()
        })
        .await;
        set.primary().await;
        set
    }

    pub fn uri(&self) -> String {
        let hosts = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        format!("mongodb://{}/?replicaSet=storm", hosts.collect::<Vec<_>>().join(","))
    }

    /// Waits for a writable primary; returns its number.
    pub async fn primary(&self) -> usize {
        let found = std::cell::Cell::new(None);
        eventually("a primary", || async {
            for node in 0..self.nodes.len() {
                let hello = self.run(node, doc! { "hello": 1 }).await.unwrap_or_default();
                if hello.get_bool("isWritablePrimary").unwrap_or_default() {
                    found.set(Some(node));
                }
            }
            found.get().is_some()
        })
        .await;
        found.get().unwrap()
    }

    /// Kills a node with SIGKILL.
    pub fn kill(&mut self, node: usize) {
        let process = &mut self.nodes[node].process;
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Pauses or resumes a node.
    pub fn signal(&self, node: usize, signal: Signal) {
        send_signal(self.nodes[node].process.id(), signal);
    }

    /// Restarts a killed node and waits until it is a secondary.
    pub async fn restart(&mut self, node: usize) {
        let Node { port, dir, process } = &mut self.nodes[node];
        *process = launch(&self.program, *port, dir);
        eventually("the node", || async {
            let hello = self.run(node, doc! { "hello": 1 }).await.unwrap_or_default();
            hello.get_bool("secondary").unwrap_or_default()
        })
        .await;
    }

    /// Runs a command on one node; `None` if it fails.
    async fn run(&self, node: usize, command: Document) -> Option<Document> {
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

/// A free port below the range that the system uses for outgoing connections.
pub fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(|| rand::random_range(20_000..32_000)).find(free).unwrap()
}
