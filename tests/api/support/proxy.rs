//! A proxy in front of MongoDB whose open connections a test can silence, as a firewall does that
//! forgets them: nothing gets through any more, and nothing breaks.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::Database;

/// The proxy of one test.
pub struct SilencingProxy {
    /// The connection string of MongoDB behind the proxy.
    pub uri: String,
    silenced: watch::Sender<usize>,
    opened: Arc<AtomicUsize>,
}

impl SilencingProxy {
    pub async fn start(database: &Database) -> Self {
        let authority = database.uri.split("//").nth(1).unwrap().split('/').next().unwrap();
        let (login, target) = authority.split_once('@').unwrap();
        let target = target.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let uri = format!("mongodb://{login}@{address}/?directConnection=true");
        let silenced = watch::Sender::new(0);
        let opened = Arc::new(AtomicUsize::new(0));
        let (silence, count) = (silenced.clone(), Arc::clone(&opened));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&target).await.unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(connect(client, server, number, silence.subscribe()));
            }
        });
        Self { uri, silenced, opened }
    }

    /// Silences the connections that are open and have carried data. Those of the driver's monitors
    /// go on, and so do new ones.
    pub fn silence(&self) {
        self.silenced.send_replace(self.opened.load(Ordering::SeqCst));
    }
}

/// Carries bytes both ways until the connection with that number is silenced.
async fn connect(
    client: TcpStream,
    server: TcpStream,
    number: usize,
    mut silenced: watch::Receiver<usize>,
) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let data = watch::Sender::new(false);
    let mut carries_data = data.subscribe();
    let silence = async {
        let _ = carries_data.wait_for(|data| *data).await;
        let _ = silenced.wait_for(|below| number < *below).await;
    };
    tokio::select! {
        _ = carry(&mut from_client, &mut to_server, &data) => {}
        _ = carry(&mut from_server, &mut to_client, &data) => {}
        // Both sockets stay open for as long as the test runs.
        () = silence => std::future::pending().await,
    }
}

async fn carry(
    from: &mut ReadHalf<TcpStream>,
    to: &mut WriteHalf<TcpStream>,
    data: &watch::Sender<bool>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        // Monitors have no session.
        if buffer[..length].windows(4).any(|some| some == b"lsid") {
            data.send_replace(true);
        }
        to.write_all(&buffer[..length]).await?;
    }
}
