//! The machine: QEMU, without a network and without a disk. The host's files come by 9p, read-only;
//! one directory can be written, in which the job lies and its outcome.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use netmon_lab::programs;

use super::{
    cpio::Archive,
    kernel::{Unpacked, busybox},
};
use crate::{run_directory::RunDirectory, workspace::ending_with_us};

/// What runs first inside.
const INIT: &str = include_str!("init.sh");
/// Of the whole machine; the layer over the host's files and all temporary files live in it.
const MEMORY: &str = "6G";
/// Set for a processor that can run another kernel's code itself.
const VIRTUALISATION: [&str; 2] = ["vmx", "svm"];

/// How the machine's processors are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceleration {
    /// By the host's processors.
    Kvm,
    /// By QEMU, in software: an order of magnitude slower.
    Emulated,
}

impl Acceleration {
    /// What this host can do. `/dev/kvm` alone says little: it is also there for kernels that must
    /// be made for it.
    pub fn of_this_host() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let can = can_virtualise(&cpus);
        let mut device = File::options();
        if can && device.read(true).write(true).open("/dev/kvm").is_ok() {
            Self::Kvm
        } else {
            Self::Emulated
        }
    }

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Emulated => "emulated: this host has no KVM, so it takes minutes longer",
        }
    }

    const fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Emulated => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

fn can_virtualise(cpus: &str) -> bool {
    cpus.lines()
        .filter(|line| line.starts_with("flags"))
        .flat_map(str::split_whitespace)
        .any(|flag| VIRTUALISATION.contains(&flag))
}

/// A directory that is `/run/netmon-vm` inside, and what is to be done there.
#[derive(Debug)]
pub struct Job {
    directory: PathBuf,
}

impl Job {
    /// An empty job of the run.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(run: &RunDirectory) -> Result<Self> {
        let directory = run.path().join("guest");
        fs::create_dir(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        Ok(Self { directory })
    }

    /// Where it lies outside.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a file of it is found inside.
    pub fn inside(name: &str) -> String {
        format!("/run/netmon-vm/{name}")
    }

    /// What the commands have left in a file, if they have.
    pub fn left(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(name)).ok()
    }
}

/// A virtual machine that has not started.
#[derive(Debug)]
pub struct Machine {
    kernel: Unpacked,
    acceleration: Acceleration,
}

impl Machine {
    /// With as many processors as the host.
    pub const fn new(kernel: Unpacked, acceleration: Acceleration) -> Self {
        Self {
            kernel,
            acceleration,
        }
    }

    /// Runs the commands, a shell script, to the end of the machine. `show` gets what it prints.
    /// Returns the script's exit status and what `show` has made of the output.
    ///
    /// # Errors
    /// When the machine does not start, or has not ended within the limit.
    pub fn run<T: Send>(
        &self,
        run: &RunDirectory,
        job: &Job,
        script: &str,
        limit: Duration,
        show: impl FnOnce(Box<dyn BufRead>) -> Result<T> + Send,
    ) -> Result<(i32, T)> {
        let place = |name| job.directory.join(name);
        fs::write(place("modules"), self.kernel.modules.display().to_string())?;
        fs::write(place("run"), framed(script))?;
        let first = run.path().join("initramfs");
        fs::write(&first, self.initramfs()?).context("cannot write the first file system")?;
        let mut qemu = run
            .mark(&mut self.command(job, &first)?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start QEMU")?;
        let output = qemu.stdout.take().context("QEMU has no output")?;
        let (ended, shown) = thread::scope(|scope| {
            let reader = scope.spawn(|| show(Box::new(BufReader::new(WithoutReturns(output)))));
            let ended = wait(&mut qemu, limit);
            let shown = reader.join();
            (ended, shown)
        });
        ended?;
        let shown = shown.map_err(|_| anyhow!("the reader of the output has panicked"))??;
        let status = job
            .left("status")
            .context("the virtual machine ended before its commands did")?;
        Ok((status.trim().parse().context("no exit status")?, shown))
    }

    fn command(&self, job: &Job, first: &Path) -> Result<Command> {
        let mut qemu = ending_with_us(programs::find("qemu-system-x86_64")?);
        let processors = thread::available_parallelism()?.to_string();
        qemu.args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-machine", "q35", "-m", MEMORY])
            .args(["-smp", &processors])
            .args(self.acceleration.arguments())
            .args(["-device", "virtio-rng-pci", "-serial", "stdio"])
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(first)
            .args(["-append", "console=ttyS0 quiet loglevel=3 panic=-1"])
            .args(["-virtfs", &share(Path::new("/"), "host", true)])
            .args(["-virtfs", &share(&job.directory, "run", false)]);
        Ok(qemu)
    }

    /// What the kernel finds at its start: busybox, the modules to reach the host's files, and the
    /// script that does.
    fn initramfs(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        for directory in [
            "bin", "proc", "sys", "dev", "lower", "layer", "root", "module",
        ] {
            archive.directory(directory);
        }
        let program = busybox()?;
        let content =
            fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
        archive.program("bin/busybox", &content);
        for name in [
            "sh",
            "mount",
            "insmod",
            "mkdir",
            "cat",
            "ln",
            "cp",
            "uname",
            "hostname",
            "ip",
            "poweroff",
            "chroot",
            "switch_root",
            "echo",
        ] {
            archive.link(&format!("bin/{name}"), "busybox");
        }
        let mut list = String::new();
        for (name, content) in self.kernel.first_modules()? {
            let path = format!("module/{name}");
            archive.program(&path, &content);
            list.push_str(&format!("/{path}\n"));
        }
        archive.program("modules", list.as_bytes());
        archive.program("init", INIT.as_bytes());
        Ok(archive.finish())
    }
}

/// The script with what comes after it: its status is kept, then the machine ends. What it prints
/// goes through a pipe: whoever finds a terminal draws progress on it.
fn framed(script: &str) -> String {
    let status = Job::inside("status");
    format!("{{ (\n{script}\n); echo $? >{status}; }} 2>&1 | cat\n/run/tools/poweroff -f\n")
}

fn share(path: &Path, tag: &str, read_only: bool) -> String {
    let mut share = format!(
        "local,path={},mount_tag={tag},security_model=none,multidevs=remap",
        path.display()
    );
    if read_only {
        share.push_str(",readonly=on");
    }
    share
}

fn wait(qemu: &mut Child, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = qemu.try_wait().context("cannot wait for QEMU")? {
            if status.success() {
                return Ok(());
            }
            bail!("QEMU has failed ({status})");
        }
        if Instant::now() > deadline {
            qemu.kill().context("cannot end QEMU")?;
            qemu.wait().context("cannot wait for QEMU")?;
            bail!("the virtual machine was not done within {limit:.0?}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A serial line ends its lines as a typewriter does.
struct WithoutReturns<R>(R);

impl<R: Read> Read for WithoutReturns<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let length = self.0.read(buffer)?;
            let mut kept = 0;
            for at in 0..length {
                if buffer[at] != b'\r' {
                    buffer[kept] = buffer[at];
                    kept += 1;
                }
            }
            // Nothing kept is not the end.
            if kept > 0 || length == 0 {
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_says_whether_it_can_run_another_kernel() {
        let cases = [
            ("flags\t\t: fpu vmx sse2\n", true),
            ("processor\t: 0\nflags\t\t: fpu svm\n", true),
            ("flags\t\t: fpu hypervisor vmmcall\n", false),
            ("model name\t: vmx\n", false),
        ];
        for (cpus, expected) in cases {
            assert_eq!(can_virtualise(cpus), expected, "{cpus}");
        }
    }

    #[test]
    fn lines_of_a_serial_line_end_as_others_do() {
        let mut text = String::new();
        let mut reader = WithoutReturns("one\r\n\r\r\ntwo".as_bytes());
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\n\ntwo");
    }
}
