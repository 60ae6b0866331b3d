//! `tenantry health`: a health check for containers that have no other HTTP client.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs},
    process::ExitCode,
    time::Duration,
};

use super::Failure;
use crate::config::Settings;

const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn run(settings: &Settings) -> Result<ExitCode, Failure> {
    let answer = ask(&settings.server.bind)?;
    let status = answer.lines().next().unwrap_or("no response");
    println!("{status}");
    let ready = status.split(' ').nth(1) == Some("200");
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn ask(bind: &str) -> Result<String, Failure> {
    let failed = |e: std::io::Error| format!("the server at {bind} cannot be asked: {e}");
    let found = bind.to_socket_addrs().map_err(failed)?.next();
    let mut address = found.ok_or("BIND names no address")?;
    if address.ip().is_unspecified() {
        address = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
    }
    Ok(exchange(address).map_err(failed)?)
}

fn exchange(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream
        .write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
