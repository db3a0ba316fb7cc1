//! What is needed to measure over a socket.

mod load;
mod nginx;
mod server;
mod sink;
mod tails;

pub use self::{
    load::{Generator, Load},
    nginx::{NGINX, NGINX_LOG, nginx_version, start_nginx},
    server::Server,
    sink::Sink,
    tails::{Tails, at_rate},
};
