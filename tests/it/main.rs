//! The command line and the repository, from outside: one binary, a file a subject.

#![expect(clippy::print_stderr, reason = "a live test that failed shows its nodes' logs")]

mod bad_input;
mod container_data;
mod dead_docker;
mod dns;
mod docs;
mod help;
mod hostile;
mod init;
mod keys;
mod layers;
mod live;
mod nameserver;
mod naming;
mod plan_speed;
mod power;
mod random;
mod recover;
mod registry;
mod repository;
mod resolver;
mod times;
mod vocabulary;
mod workspace;
