//! The whole path on real traffic: kernel programs on veth pairs, a real server on its own
//! PostgreSQL, real chrony, real Prometheus.
//!
//! Every agent here runs as an unprivileged user with CAP_BPF and CAP_NET_ADMIN and nothing else,
//! under `no_new_privs`. The tests need root to build their networks; all of it lies in network
//! namespaces that end with the test.

mod backlog;
mod bandwidth;
mod doctor;
mod flows;
mod flows_hooks;
mod golden;
mod hooks;
mod hooks_agents;
mod hooks_clsact;
mod hooks_others;
mod hooks_xdp;
mod interfaces;
mod namespaces;
mod namespaces_ntp;
mod ntp;
mod ntp_bridge;
mod ntp_cable;
mod ntp_chrony;
mod ntp_control;
mod ntp_folds;
mod ntp_ntplib;
mod ntp_ntpsec;
mod ntp_openntpd;
mod ntp_ports;
mod ntp_vantage;
mod outages;
mod pins;
mod prometheus;
mod raw_frames;
mod signals;
mod site;
mod status;
mod system;
mod tun;
mod uplink;
mod uplink_certificates;
mod uplink_nat;
mod uplink_servers;
mod watch;
mod watch_server;
