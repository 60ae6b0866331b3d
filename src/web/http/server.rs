//! The server: its threads, and limits on connections.

use std::{future::ready, io, net::TcpListener, time::Duration};

use actix_http::HttpService;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    Error as ActixError,
    dev::{AppConfig, Server},
    web,
};
use rustix::{net::sockopt, process};
use tokio::net::TcpStream;

use super::stream::{Limits, Wire};
use crate::{config::ServerSettings, web::Shared};

/// The length of the accept queue.
const BACKLOG: i32 = 1024;
/// The kernel's send buffer of a connection. By default it grows to megabytes for a client that
/// does not read. A slow client would then seem not to read at all, because a third of the buffer
/// must be free before the socket is writable.
const SEND_BUFFER: usize = 256 * 1024;
/// Descriptors for everything else: connections to the database, logs, files.
const RESERVED: u64 = 512;
const DISCONNECT: Duration = Duration::from_secs(1);
/// The wire's limit on a head is longer than actix's by this, because actix answers and the wire
/// only closes.
const SECOND: Duration = Duration::from_secs(1);

/// Starts accepting connections; `on_thread` runs once on every worker thread.
pub fn serve(
    listener: TcpListener,
    shared: web::Data<Shared>,
    on_thread: impl Fn() + Clone + Send + 'static,
) -> io::Result<Server> {
    let settings = shared.server.clone();
    // The standard library uses a backlog of 128. Accepted sockets inherit the buffer's size.
    rustix::net::listen(&listener, BACKLOG)?;
    sockopt::set_socket_send_buffer_size(&listener, SEND_BUFFER)?;
    let address = listener.local_addr()?;
    let limits = Limits {
        head: settings.header_timeout() + SECOND,
        answer: Duration::from_secs(settings.write_timeout_seconds),
    };

    let threads = threads(&settings);
    let server = Server::build()
        .workers(threads)
        .max_concurrent_connections(connections(&settings).div_ceil(threads))
        .shutdown_timeout(settings.shutdown_timeout_seconds)
        .disable_signals();
    let stopping = server.graceful_shutdown_signal();
    let server = server.listen("http", listener, move || {
        on_thread();
        let stopping = stopping.clone();
        let app = crate::web::app(&shared).into_factory();
        let app = app.map_err(|error: ActixError| error.error_response());
        let service = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(Duration::from_secs(settings.keep_alive_seconds))
            .client_request_timeout(settings.header_timeout())
            .client_disconnect_timeout(DISCONNECT)
            .local_addr(address)
            .on_connect_ext(|wire: &Wire, data| {
                data.insert(wire.connection());
            })
            .h1(map_config(app, |()| AppConfig::default()));
        fn_service(move |stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            ready(Ok((Wire::new(stream, limits), peer)))
        })
        .and_then(service)
    })?;
    Ok(server.run())
}

fn threads(settings: &ServerSettings) -> usize {
    match settings.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        some => some,
    }
}

/// The maximum number of connections: the setting, or as many as there are descriptors for.
fn connections(settings: &ServerSettings) -> usize {
    match settings.max_connections {
        0 => {
            let all = descriptors();
            usize::try_from(all - RESERVED.min(all / 2)).unwrap_or(usize::MAX)
        }
        some => some,
    }
}

/// Raises the limit on open files and sockets as far as possible, and returns it.
fn descriptors() -> u64 {
    let limit = process::getrlimit(process::Resource::Nofile);
    let raised = process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let raised = process::setrlimit(process::Resource::Nofile, raised).map(|()| limit.maximum);
    // Without a limit, a million is more than enough.
    raised.unwrap_or(limit.current).unwrap_or(1 << 20).max(4)
}
