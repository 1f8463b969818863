//! The same captures through the kernel's programs. Without root there is nothing to compare.

use crate::{
    build::{
        Order, PcapNg, ethernet, frames, ipv4, ipv6, request, request_packet, tagged, tcp, udp,
    },
    run::{on_files, replay, run},
    shared::captures,
};

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: needs root");
    }
    root
}

/// Frames of every kind, short and long.
fn mixed() -> Vec<Vec<u8>> {
    let mut all = vec![
        ethernet(0x0800, &request_packet(1)),
        ethernet(0x86dd, &ipv6(17, &udp(123, 123, &request(2)))),
        ethernet(0x8100, &tagged(5, 0x0800, &request_packet(3))),
        ethernet(0x0800, &ipv4(6, &tcp(1, 2, 0x02, &[]))),
        ethernet(0x0806, &[0; 28]),
        ethernet(0x0800, &ipv4(4, &request_packet(4))),
    ];
    // Longer than the kernel takes, with padding behind the packet.
    let mut long = ethernet(0x0800, &request_packet(5));
    long.resize(70_000, 0);
    all.push(long);
    // The transport header lies behind what the kernel can be given.
    let options = [&[17, 255][..], &[0; 2046]].concat();
    let far = ipv6(60, &[options, udp(1, 123, &request(6))].concat());
    all.push(ethernet(0x86dd, &far));
    let cut: Vec<_> = (0..90).map(|length| all[0][..length].to_vec()).collect();
    all.extend(cut);
    all
}

#[test]
fn kernel_and_slice_reader_print_the_same() {
    if !is_root() {
        return;
    }
    let cooked = |packet: &[u8]| [&[0, 4], &[0; 12][..], &[8, 0], packet].concat();
    let mut several = PcapNg::new(Order::Big);
    several
        .interface(1, 0, &[(2, b"a")])
        .interface(101, 0, &[(2, b"b")]);
    for n in 0..20 {
        several.enhanced(0, n, &ethernet(0x0800, &request_packet(n)), &[]);
        several.enhanced(1, n, &request_packet(n), &[(2, &[0, 0, 0, 2])]);
    }
    let captures = [
        frames(1, &mixed()),
        frames(
            101,
            &[request_packet(1), vec![], vec![0x45], vec![0x60; 30]],
        ),
        frames(113, &[cooked(&request_packet(1)), cooked(&[])]),
        several.octets,
    ];
    for capture in captures {
        let kernel = run(&capture, &["--packets", "ntp", "--format", "ndjson"]);
        assert!(kernel.success, "{}", kernel.stderr);
        assert_eq!(kernel.stdout, replay(&capture).stdout);
        let ports = ["--packets", "ntp", "--ntp-port", "1", "--ntp-port", "2"];
        let (kernel, slice) = (
            run(&capture, &ports),
            run(&capture, &[&ports[..], &["--userspace"]].concat()),
        );
        assert_eq!(kernel.stdout, slice.stdout);
    }
}

#[test]
fn kernel_and_slice_reader_print_the_same_of_real_captures() {
    if !is_root() {
        return;
    }
    let captures = captures();
    let paths = captures.iter().filter_map(|capture| capture.to_str());
    // All in one run: loading the programs takes longer than reading a capture.
    let all: Vec<_> = ["--packets", "ntp", "--format", "ndjson"]
        .into_iter()
        .chain(paths)
        .collect();
    if captures.is_empty() {
        return;
    }
    let kernel = on_files(&all);
    assert!(kernel.success, "{}", kernel.stderr);
    let slice = on_files(&[&all[..], &["--userspace"]].concat());
    for (kernel, slice) in kernel.stdout.lines().zip(slice.stdout.lines()) {
        assert_eq!(kernel, slice);
    }
    assert_eq!(kernel.stdout.len(), slice.stdout.len());
}
