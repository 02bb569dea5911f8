//! The server as its callers see it: the router without a socket, and the real
//! process on a port of its own.

mod admin;
mod backup;
mod check;
mod console;
mod crash;
mod damage;
mod download;
mod events;
mod flood;
mod limits;
mod log;
mod maker;
mod operations;
mod process;
mod protocol;
mod publish;
mod publisher;
mod served;
mod server;
mod tools;
mod upgrade;
