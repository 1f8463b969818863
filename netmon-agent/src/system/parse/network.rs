//! `/proc/net/dev` and `/proc/net/sockstat`, which show the network namespace of whoever reads.

/// Counters of one interface since it appeared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceErrors {
    /// Its name.
    pub interface: String,
    /// Received with an error, sent with one, dropped at reception, dropped at sending, FIFO errors
    /// of both directions, collisions.
    pub counts: [u64; 6],
}

/// Sockets in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Of every family.
    pub used: u32,
    /// TCP over IPv4, without those in TIME_WAIT.
    pub tcp: u32,
    /// TCP in TIME_WAIT, over IPv4 and IPv6.
    pub tcp_time_wait: u32,
}

/// `/proc/net/dev`: two lines of headings, then one per interface.
pub fn interface_errors(dev: &str) -> Vec<InterfaceErrors> {
    let errors = |line: &str| {
        let (name, figures) = line.rsplit_once(':')?;
        let figures: Option<Vec<u64>> = figures
            .split_ascii_whitespace()
            .map(|word| word.parse().ok())
            .collect();
        let figures = figures.filter(|figures| figures.len() >= 14)?;
        Some(InterfaceErrors {
            interface: name.trim().to_owned(),
            counts: [
                figures[2],
                figures[10],
                figures[3],
                figures[11],
                figures[4].saturating_add(figures[12]),
                figures[13],
            ],
        })
    };
    dev.lines().filter_map(errors).collect()
}

/// `/proc/net/sockstat`.
pub fn sockets(sockstat: &str) -> Option<Sockets> {
    let find = |line: &str, name: &str| -> Option<u32> {
        let mut words = sockstat
            .lines()
            .find_map(|l| l.strip_prefix(line))?
            .split_ascii_whitespace();
        words.find(|word| *word == name)?;
        words.next()?.parse().ok()
    };
    Some(Sockets {
        used: find("sockets:", "used")?,
        tcp: find("TCP:", "inuse")?,
        tcp_time_wait: find("TCP:", "tw")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_found_in_their_columns() {
        let text = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 251883489   75692    0    0    0     0          0         0 251883489   75692    0    0    0     0       0          0
eth0.5:478957323   18627    1    2    3     4          5         6  1220534   11265    7    8    9     10      11         12
";
        let errors = interface_errors(text);
        assert_eq!(errors.len(), 2);
        // Old kernels left no space between the colon and a large number.
        assert_eq!(errors[1].interface, "eth0.5");
        assert_eq!(errors[1].counts, [1, 7, 2, 8, 12, 10]);
    }

    #[test]
    fn sockets_in_use_are_found() {
        let text =
            "sockets: used 18\nTCP: inuse 1 orphan 0 tw 5 alloc 1 mem 96\nUDP: inuse 0 mem 38\n";
        let expected = Sockets {
            used: 18,
            tcp: 1,
            tcp_time_wait: 5,
        };
        assert_eq!(sockets(text), Some(expected));
        assert_eq!(sockets("sockets: used 18\n"), None);
    }
}
