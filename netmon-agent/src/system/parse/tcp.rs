//! `/proc/net/snmp`, `/proc/net/tcp` and `/proc/net/tcp6`, which show the network namespace of
//! whoever reads.

/// Counters since the boot, or since the namespace was made; IPv4 and IPv6 together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Without those that were sent again.
    pub segments_sent: Option<u64>,
    /// Sent again.
    pub segments_retransmitted: Option<u64>,
    /// RST sent.
    pub resets_sent: Option<u64>,
    /// Connections that went from ESTABLISHED or CLOSE_WAIT to CLOSE at once.
    pub connections_reset: Option<u64>,
}

/// The `Tcp:` lines of `/proc/net/snmp`: one with names, one with values.
pub fn tcp(snmp: &str) -> Tcp {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return Tcp::default();
    };
    let find = |wanted| {
        let index = names
            .split_ascii_whitespace()
            .position(|name| name == wanted)?;
        values.split_ascii_whitespace().nth(index)?.parse().ok()
    };
    Tcp {
        segments_sent: find("OutSegs"),
        segments_retransmitted: find("RetransSegs"),
        resets_sent: find("OutRsts"),
        connections_reset: find("EstabResets"),
    }
}

/// Adds the socket of a line of `/proc/net/tcp` or `tcp6` to its state, if it is one.
///
/// States are numbered from 1 (include/net/tcp_states.h). 12, NEW_SYN_RECV, is shown as SYN_RECV,
/// since it is the same to everybody outside of the kernel.
pub fn count_states(states: &mut [u32; 11], line: &str) {
    let state = line
        .split_ascii_whitespace()
        .nth(3)
        .and_then(|word| usize::from_str_radix(word, 16).ok());
    let state = if state == Some(12) { Some(3) } else { state };
    if let Some(count) = state.and_then(|state| states.get_mut(state.checked_sub(1)?)) {
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_names() {
        // Linux 6.18; 2.6.18 had no InCsumErrors.
        let text = "\
Ip: Forwarding DefaultTTL
Ip: 2 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors
Tcp: 1 200 120000 -1 782 661 20 73 0 26893 19610 2 0 107 0
";
        let expected = Tcp {
            segments_sent: Some(19_610),
            segments_retransmitted: Some(2),
            resets_sent: Some(107),
            connections_reset: Some(73),
        };
        assert_eq!(tcp(text), expected);
        assert_eq!(tcp("Tcp: OutRsts\n"), Tcp::default());
    }

    #[test]
    fn sockets_are_counted_by_state() {
        let mut states = [0; 11];
        for line in [
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when",
            "   0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000",
            "   1: 0100007F:1F90 0100007F:A001 01 00000000:00000000 00:00000000",
            "   2: 0100007F:1F90 0100007F:A002 01 00000000:00000000 00:00000000",
            "   3: 0100007F:1F90 0100007F:A003 0C 00000000:00000000 00:00000000",
            "   4: 0100007F:1F90 0100007F:A004 FF 00000000:00000000 00:00000000",
            "   5: 0100007F:1F90 0100007F:A005 00 00000000:00000000 00:00000000",
            "",
        ] {
            count_states(&mut states, line);
        }
        assert_eq!(states, [2, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0]);
    }
}
