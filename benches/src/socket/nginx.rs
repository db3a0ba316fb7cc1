//! nginx with and without its line of JSON for each request: what a server that is known to be fast pays for one.

use std::{fmt::Write as _, fs, net::TcpListener, path::Path, process::Command};

use tempfile::TempDir;

use super::Server;

/// Without an access log.
pub const NGINX: &str = "nginx, its log off";
/// With one line of JSON for each request, of 17 variables, into `/dev/null`.
pub const NGINX_LOG: &str = "nginx, its log on";

/// The version of the installed nginx, as `1.22.1`. `None`: nginx is not installed.
pub fn nginx_version() -> Option<String> {
    let output = Command::new(program()).arg("-v").output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(text.split_once("nginx/")?.1.split_ascii_whitespace().next()?.to_owned())
}

/// Where Debian installs it is not in every user's `PATH`.
fn program() -> &'static str {
    const SBIN: &str = "/usr/sbin/nginx";
    if Path::new(SBIN).exists() { SBIN } else { "nginx" }
}

/// Starts one process of it on core 0, which answers everything with a short text.
///
/// # Errors
/// What kept it from starting.
pub fn start_nginx(with_log: bool) -> Result<Server, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    let port = free.map_err(|error| error.to_string())?.port();
    let file = directory.path().join("nginx.conf");
    fs::write(&file, config(&directory, port, with_log)).map_err(|error| error.to_string())?;
    let mut command = Command::new("taskset");
    command.args(["-c", "0", program(), "-e", "/dev/null", "-p"]).arg(directory.path()).arg("-c").arg(&file);
    Server::of_command(command, port, directory)
}

/// One process without a master: killed, nothing of it is left. Connections are kept for as long as the load lasts.
fn config(directory: &TempDir, port: u16, with_log: bool) -> String {
    const VARIABLES: [&str; 17] = [
        "time_iso8601",
        "msec",
        "remote_addr",
        "request_method",
        "scheme",
        "host",
        "request_uri",
        "server_protocol",
        "status",
        "body_bytes_sent",
        "bytes_sent",
        "request_length",
        "request_time",
        "http_referer",
        "http_user_agent",
        "http_traceparent",
        "request_id",
    ];
    let fields: Vec<_> = VARIABLES.iter().map(|name| format!("\"{name}\":\"${name}\"")).collect();
    let log = if with_log { "/dev/null line buffer=256k" } else { "off" };
    let mut temporary = String::new();
    for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _infallible = writeln!(temporary, "    {name}_temp_path {}/{name};", directory.path().display());
    }
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid {}/pid;\nevents {{ worker_connections 1024; }}\nhttp {{\n{temporary}    \
         log_format line escape=json '{{{}}}';\n    access_log {log};\n    keepalive_requests 1000000000;\n    server {{\n        \
         listen 127.0.0.1:{port};\n        location / {{ default_type text/plain; return 200 \"user 7\"; }}\n    }}\n}}\n",
        directory.path().display(),
        fields.join(",")
    )
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use super::{nginx_version, start_nginx};

    #[test]
    fn nginx_answers_with_its_log_on_and_off_where_it_is_installed() {
        if nginx_version().is_none() {
            assert!(start_nginx(true).is_err(), "where it is not, that is said");
            return;
        }
        for with_log in [false, true] {
            let server = start_nginx(with_log).unwrap();
            let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
            stream.write_all(b"GET /users/7 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("user 7"), "{answer}");
        }
    }
}
