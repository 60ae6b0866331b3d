//! The programs under test: the server, and a bare route as its floor, each in its own process.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use actix_web::{App, HttpResponse, HttpServer, http::header::ContentType, web};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::Result;

const POLL: Duration = Duration::from_millis(20);
const STARTED_WITHIN: Duration = Duration::from_mins(1);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);
/// The text before the address in the server's greeting.
const GREETING: &str = "API       http://";

/// A listening child process that is killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts the command, with its output in `output`, and waits for its greeting.
    pub(crate) async fn start(mut command: Command, output: &Path) -> Result<Self> {
        let file = File::create(output)?;
        let child = command.stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file).spawn()?;
        let mut server = Self { child, address: ([127, 0, 0, 1], 0).into() };
        let until = Instant::now() + STARTED_WITHIN;
        loop {
            let said = fs::read_to_string(output)?;
            let greeting = said.split_once(GREETING).and_then(|(_, rest)| rest.split_once('\n'));
            if let Some((address, _)) = greeting {
                server.address = address.trim().parse()?;
                return Ok(server);
            }
            if server.child.try_wait()?.is_some() || Instant::now() >= until {
                return Err(format!("the server did not start: {}", said.trim()).into());
            }
            sleep(POLL).await;
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or("the server has no process id")?, Signal::TERM)?;
        let until = Instant::now() + STOPPED_WITHIN;
        while self.child.try_wait()?.is_none() {
            if Instant::now() >= until {
                return Err("the server did not end in time".into());
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After a normal stop there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program as the floor of `get`: the same framework, threads and answer, and nothing else.
pub(crate) fn bare(body: &str, workers: usize) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--serve-bare", body, "--workers", &workers.to_string()]);
    Ok(command)
}

/// Serves `body` at the route of `get` until it is killed.
#[expect(clippy::print_stdout, reason = "the parent reads the address there")]
pub(crate) fn serve_bare(body: &str, workers: usize) -> std::io::Result<()> {
    let body = web::Bytes::copy_from_slice(body.as_bytes());
    actix_web::rt::System::new().block_on(async move {
        let mut server = HttpServer::new(move || {
            let body = body.clone();
            let answer = move || {
                let body = body.clone();
                async move { HttpResponse::Ok().content_type(ContentType::json()).body(body) }
            };
            App::new().route("/org/get", web::get().to(answer))
        });
        if workers > 0 {
            server = server.workers(workers);
        }
        let server = server.bind(("127.0.0.1", 0))?;
        for address in server.addrs() {
            println!("{GREETING}{address}");
        }
        server.run().await
    })
}
