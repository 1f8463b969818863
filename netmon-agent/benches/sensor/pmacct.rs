//! pmacctd(8) of pmacct, which keeps a table of 5-tuples and writes it at the end.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use netmon_lab::{Signal, programs};

use crate::{
    contender::Claim,
    site::{INTERFACE, Site},
    tool::{Tool, number},
};

pub struct Pmacct {
    tool: Tool,
    table: PathBuf,
}

impl Pmacct {
    pub fn start(site: &Site) -> Result<Self> {
        let (settings, table) = (site.path("pmacctd.conf"), site.path("pmacctd.csv"));
        // What was written in an earlier round.
        let _ = fs::remove_file(&table);
        // The sizes of the pipe between its processes are those of its documentation for much
        // traffic.
        let text = format!(
            "daemonize: false\n\
             pcap_interface: {INTERFACE}\n\
             aggregate: src_host, dst_host, src_port, dst_port, proto\n\
             plugins: print\n\
             print_output: csv\n\
             print_output_file: {}\n\
             print_output_file_append: true\n\
             print_refresh_time: 60\n\
             plugin_pipe_size: 102400000\n\
             plugin_buffer_size: 102400\n",
            table.display()
        );
        fs::write(&settings, text)?;
        let mut command = site.place.command(programs::find("pmacctd")?);
        command.arg("-f").arg(&settings);
        Ok(Self {
            tool: Tool::start(site, "pmacctd", command, "cache entries")?,
            table,
        })
    }

    pub fn id(&self) -> u32 {
        self.tool.id()
    }

    pub fn finish(mut self) -> Result<Claim> {
        self.tool.end(Signal::SIGINT)?;
        let table = fs::read_to_string(&self.table)
            .with_context(|| format!("pmacctd wrote no table:\n{}", self.tool.said()))?;
        // SRC_IP,DST_IP,SRC_PORT,DST_PORT,PROTOCOL,PACKETS,BYTES
        let packets = table
            .lines()
            .filter_map(|line| line.split(',').nth(5)?.parse::<u64>().ok());
        Ok(Claim {
            seen: packets.sum(),
            dropped: number(&self.tool.said(), "dropped_packets").ok(),
        })
    }
}
