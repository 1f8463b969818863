//! Running the programs on single frames, without a network (`BPF_PROG_TEST_RUN`, kernel 4.12
//! commit 1cf1cae963c2): what benchmarks, golden tests and replay do.

mod buffer;

use std::time::Duration;

use aya::programs::{ProgramError, SchedClassifier, TestRun, TestRunOptions, TestRunResult, Xdp};

pub use self::buffer::TestBuffer;
use super::{LoadError, Sensor, attach::XDP_PROGRAM};

/// The interface that the kernel pretends a frame of a test run came from: the loopback.
pub const TEST_RUN_IFINDEX: u32 = 1;

/// A program that can be run on a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// What packets meet that the host receives.
    Ingress,
    /// What packets meet that the host sends.
    Egress,
    /// What packets meet that the host receives where XDP is wanted; see [`Sensor::has_xdp`].
    XdpIngress,
    /// Nothing: the cost of calling any program.
    Empty,
}

impl Program {
    const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "netmon_ingress",
            Self::Egress => "netmon_egress",
            Self::XdpIngress => XDP_PROGRAM,
            Self::Empty => "netmon_empty",
        }
    }
}

impl Sensor {
    /// Loads the program that does nothing.
    pub fn load_empty(&mut self) -> Result<(), LoadError> {
        let name = Program::Empty.name();
        let program = self
            .ebpf
            .program_mut(name)
            .ok_or(LoadError::Missing(name))?;
        Ok(<&mut SchedClassifier>::try_from(program)?.load()?)
    }

    /// Runs a program `repeat` times on a frame; returns the mean time of one run.
    pub fn test_run(
        &self,
        program: Program,
        frame: &[u8],
        repeat: u32,
    ) -> Result<Duration, ProgramError> {
        let loaded = self
            .ebpf
            .program(program.name())
            .ok_or(ProgramError::NotLoaded)?;
        match program {
            Program::XdpIngress => run(<&Xdp>::try_from(loaded)?, frame, repeat),
            _ => run(<&SchedClassifier>::try_from(loaded)?, frame, repeat),
        }
    }

    /// Runs a program for socket buffers once, on a buffer of a certain shape.
    pub fn test_run_on(
        &self,
        program: Program,
        frame: &[u8],
        buffer: TestBuffer,
    ) -> Result<(), ProgramError> {
        let program = self
            .ebpf
            .program(program.name())
            .ok_or(ProgramError::NotLoaded)?;
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&buffer.context()),
            ..TestRunOptions::new()
        };
        <&SchedClassifier>::try_from(program)?
            .test_run(options)
            .map(|_| ())
    }

    /// A handle for running a program while the sensor is drained elsewhere. Needs
    /// `CAP_SYS_ADMIN`.
    pub fn program_handle(&self, program: Program) -> Result<ProgramHandle, ProgramError> {
        let program = self
            .ebpf
            .program(program.name())
            .ok_or(ProgramError::NotLoaded)?;
        let info = <&SchedClassifier>::try_from(program)?.info()?;
        SchedClassifier::from_program_info(info, "netmon_test_run".into()).map(ProgramHandle)
    }
}

/// A loaded program, for running it.
pub struct ProgramHandle(SchedClassifier);

impl ProgramHandle {
    /// Runs the program `repeat` times on a frame; returns the mean time of one run, which the
    /// kernel rounds to whole nanoseconds. The kernel refuses frames of fewer than 14 octets.
    pub fn run(&self, frame: &[u8], repeat: u32) -> Result<Duration, ProgramError> {
        run(&self.0, frame, repeat)
    }
}

fn run<P>(program: &P, frame: &[u8], repeat: u32) -> Result<Duration, ProgramError>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let options = TestRunOptions {
        data_in: Some(frame),
        repeat,
        ..TestRunOptions::new()
    };
    let TestRunResult { duration, .. } = program.test_run(options)?;
    Ok(duration)
}
